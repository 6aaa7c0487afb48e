"""What the demo relies on: the network, its images and its preprocessing fit one another."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt
import onnx
import onnxruntime
import pytest

import distq
from distq.data.preprocess import Preprocessing, load_preprocessing
from distq.jobs.demo import CALIBRATION, HELD_OUT, TUNING

ASSETS = Path(distq.__file__).parent / "assets"


@pytest.fixture(scope="module")
def listed() -> list[tuple[str, int]]:
    pairs = [line.split() for line in (ASSETS / "labels.txt").read_text().splitlines()]
    return [(name, int(label)) for name, label in pairs]


@pytest.fixture(scope="module")
def inputs(listed: list[tuple[str, int]]) -> npt.NDArray[np.float32]:
    preprocessing = load_preprocessing(ASSETS / "preprocess.yaml")
    assert isinstance(preprocessing, Preprocessing)
    steps = preprocessing.for_input("image")
    return np.concatenate([steps.apply(cv2.imread(str(ASSETS / name))) for name, _ in listed])


def test_every_listed_image_is_there_and_no_other(listed: list[tuple[str, int]]) -> None:
    names = [name for name, _ in listed]
    assert sorted(names) == sorted(f"digits/{path.name}" for path in (ASSETS / "digits").iterdir())
    assert len(names) == CALIBRATION + HELD_OUT
    assert TUNING <= CALIBRATION


def test_no_held_out_image_is_also_a_calibration_image(listed: list[tuple[str, int]]) -> None:
    contents = [cv2.imread(str(ASSETS / name)).tobytes() for name, _ in listed]
    assert not set(contents[:CALIBRATION]) & set(contents[CALIBRATION:])


def test_the_float_network_is_right_on_97_percent_of_the_held_out_digits(
    listed: list[tuple[str, int]], inputs: npt.NDArray[np.float32]
) -> None:
    session = onnxruntime.InferenceSession(ASSETS / "digits.onnx", providers=["CPUExecutionProvider"])
    (logits,) = session.run(["logits"], {"image": inputs})
    right = logits.argmax(axis=1) == [label for _, label in listed]
    assert right[CALIBRATION:].mean() > 0.97


def test_the_network_is_a_valid_model_with_batch_normalization_left_in() -> None:
    model = onnx.load(ASSETS / "digits.onnx")
    onnx.checker.check_model(model, full_check=True)
    operators = {node.op_type for node in model.graph.node}
    assert {"BatchNormalization", "Clip", "Relu", "Add", "Concat", "GlobalAveragePool", "Gemm"} <= operators


def test_the_assets_stay_small() -> None:
    sizes = {path.name: path.stat().st_size for path in ASSETS.rglob("*") if path.is_file()}
    assert sizes["digits.onnx"] < 1_000_000
    assert sum(sizes.values()) < 1_500_000
