"""A detector that ends in NonMaxSuppression is calibrated and tuned, and its model is kept."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from job_helpers import read_json
from networks import Builder, write

import distq


@pytest.fixture
def detector(tmp_path: Path) -> Path:
    """Boxes and scores of a convolution, suppressed in the network."""
    b = Builder(3)
    first = b.node("Relu", b.conv("x", (3, 8)))
    boxes = b.node("Reshape", b.conv(first, (8, 4), kernel=1), b.constant(np.array([1, -1, 4])))
    logits = b.node("Reshape", b.conv(first, (8, 2), kernel=1), b.constant(np.array([1, 2, -1])))
    limits = [b.constant(np.array([value], kind)) for value, kind in ((9, np.int64), (0.5, np.float32))]
    least = b.constant(np.array([0.4], np.float32))
    b.node("NonMaxSuppression", boxes, b.node("Sigmoid", logits), *limits, least, output="selected")
    proto = b.model({"x": [1, 3, 8, 8]}, ["selected"])
    proto.graph.output[0].CopyFrom(
        onnx.helper.make_tensor_value_info("selected", onnx.TensorProto.INT64, ["boxes", 3])
    )
    return write(tmp_path, proto)


@pytest.mark.parametrize(
    ("command", "options"),
    [("calibrate", {}), ("tune", {}), ("tune", {"strategy": "tpu-mlir"})],
)
def test_the_model_is_kept_and_compared_in_front_of_the_suppression(
    detector: Path, tmp_path: Path, command: str, options: dict[str, Any]
) -> None:
    rng = np.random.default_rng(0)
    np.savez(tmp_path / "data.npz", x=rng.normal(size=(12, 3, 8, 8)).astype(np.float32))
    common: dict[str, Any] = {"model": detector, "data": tmp_path / "data.npz", "out": tmp_path / "run"}
    found = getattr(distq, command)(**common, **options, samples=8, executor="local")
    assert found.holdout.before.sqnr_db > 25
    (warning,) = found.warnings
    assert "selected" in warning
    assert "NonMaxSuppression" in warning
    assert read_json(tmp_path / "run" / "metrics.json")["warnings"] == [warning]
    session = onnxruntime.InferenceSession(tmp_path / "run" / "model.int8.onnx")
    assert [output.name for output in session.get_outputs()] == ["selected"]
    assert session.run(None, {"x": rng.normal(size=(1, 3, 8, 8)).astype(np.float32)})[0].shape[1] == 3
    measured = distq.evaluate(
        tmp_path / "run" / "model.int8.onnx", against=detector, data=tmp_path / "data.npz", executor="local"
    )
    assert measured.images == 12
    assert measured.candidate.sqnr_db > 25


def test_layers_behind_what_is_compared_can_be_tuned(tmp_path: Path) -> None:
    b = Builder(3)
    head = b.node("Relu", b.conv("x", (3, 4)))
    chosen = b.node("Cast", b.node("Transpose", b.node("NonZero", head), perm=[1, 0]), to=1)
    b.node("Gemm", b.node("Relu", b.node("Gemm", chosen, b.random(4, 6))), b.random(6, 2), output="y")
    proto = b.model({"x": [1, 3, 6, 6]}, {"y": ["chosen", 2]})
    samples = np.random.default_rng(0).normal(size=(6, 3, 6, 6)).astype(np.float32)
    np.save(tmp_path / "data.npy", samples)
    options: dict[str, Any] = {"samples": 4, "tune_samples": 4, "executor": "local"}
    found = distq.tune(
        model=write(tmp_path, proto), data=tmp_path / "data.npy", out=tmp_path / "run", **options
    )
    assert "NonZero" in found.warnings[0]
