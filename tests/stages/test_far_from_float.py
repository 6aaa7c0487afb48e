"""A result that is of no use is said, with what to try."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from job_helpers import calibrate, samples, write_model
from networks import Builder


@pytest.mark.parametrize(("target", "tried"), [("ort", "--target openvino"), ("openvino", "--float-budget")])
def test_a_result_far_from_float_says_what_to_try(
    model: Path, tmp_path: Path, target: str, tried: str
) -> None:
    data = samples().copy()
    data[0] *= 1e3  # it sets the thresholds, and leaves the others no steps
    np.save(tmp_path / "data.npy", data)
    options = {"samples": 1, "method": "max", "target": target}
    found = calibrate(model, tmp_path / "data.npy", tmp_path / "run", **options)
    assert found.holdout is not None
    assert found.holdout.before.sqnr_db < 15
    (line,) = [line for line in found.warnings if "dB from float" in line]
    assert tried in line
    assert "--float-depthwise keeps 1 layer in float, 24.0% of the multiplications" in line


def test_a_good_result_says_nothing(model: Path, data: Path, tmp_path: Path) -> None:
    assert not calibrate(model, data, tmp_path / "run", samples=8).warnings


def test_too_few_samples_for_the_ranges_are_said(model: Path, tmp_path: Path) -> None:
    data = samples().copy()
    data[8:] *= 20
    np.save(tmp_path / "data.npy", data)
    found = calibrate(model, tmp_path / "data.npy", tmp_path / "run", samples=8, target="openvino")
    (line,) = [line for line in found.warnings if "held-out samples are" in line]
    assert "what 8 samples showed" in line


def test_outputs_are_told_apart_and_one_in_the_order_of_a_topk_is_named(tmp_path: Path) -> None:
    b = Builder()
    first = b.node("Relu", b.node("MatMul", "x", b.random(4, 8)))
    scores = b.node("MatMul", first, b.random(8, 32), output="scores")
    count = b.constant(np.array([8]))
    b.node("TopK", scores, count, output="best", outputs=2)
    b.node("GatherElements", b.node("Mul", scores, b.random(32)), "best_1", output="rows", axis=1)
    model = write_model(tmp_path / "model.onnx", b.model({"x": [1, 4]}, ["scores", "rows"]))
    np.save(tmp_path / "data.npy", np.random.default_rng(0).normal(size=(32, 4)).astype(np.float32))
    found = calibrate(model, tmp_path / "data.npy", tmp_path / "run", samples=16)
    far, ranked = found.warnings[:2]
    assert "(rows " in far
    assert ", scores " in far
    assert ranked.startswith("rows are in the order of a TopK")
