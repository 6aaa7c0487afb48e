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


@pytest.mark.parametrize("name", ["digits.onnx", "vit.onnx"])
def test_the_float_networks_are_right_on_97_percent_of_the_held_out_digits(
    listed: list[tuple[str, int]], inputs: npt.NDArray[np.float32], name: str
) -> None:
    session = onnxruntime.InferenceSession(ASSETS / name, providers=["CPUExecutionProvider"])
    (logits,) = session.run(["logits"], {"image": inputs})
    right = logits.argmax(axis=1) == [label for _, label in listed]
    assert right[CALIBRATION:].mean() > 0.97


def test_the_network_is_a_valid_model_with_batch_normalization_left_in() -> None:
    model = onnx.load(ASSETS / "digits.onnx")
    onnx.checker.check_model(model, full_check=True)
    operators = {node.op_type for node in model.graph.node}
    assert {"BatchNormalization", "Clip", "Relu", "Add", "Concat", "GlobalAveragePool", "Gemm"} <= operators


def test_the_transformer_is_one_as_exporters_write_them() -> None:
    model = onnx.load(ASSETS / "vit.onnx")
    onnx.checker.check_model(model, full_check=True)
    operators = {node.op_type for node in model.graph.node}
    assert {"Conv", "LayerNormalization", "MatMul", "Softmax", "Erf", "Transpose", "ReduceMean"} <= operators


@pytest.mark.parametrize("target", ["ort", "openvino"])
def test_the_transformer_is_quantized_with_every_linear_layer_on_integers(
    tmp_path: Path, target: str
) -> None:
    run = distq.calibrate(
        model=ASSETS / "vit.onnx",
        data=ASSETS / "labels.txt",
        preprocess=ASSETS / "preprocess.yaml",
        out=tmp_path / "run",
        samples=16,
        holdout=32,
        method="mse",
        target=target,
        executor="local",
    )
    assert run.holdout is not None
    assert (run.holdout.before.sqnr_db or 0) > 25
    kernels = run.integer_kernels
    assert (kernels is not None) == (target == "ort")
    if kernels is not None:
        assert kernels.multiplications > 0.9


def test_the_assets_stay_small() -> None:
    sizes = {path.name: path.stat().st_size for path in ASSETS.rglob("*") if path.is_file()}
    assert max(sizes["digits.onnx"], sizes["vit.onnx"]) < 1_000_000
    assert sum(sizes.values()) < 1_500_000
