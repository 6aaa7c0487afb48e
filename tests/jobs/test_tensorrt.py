"""``--target tensorrt`` end to end."""

from __future__ import annotations

from pathlib import Path

import onnx
import pytest
from job_helpers import CLASSES, Graph, bits, calibrate, thresholds, write_model
from onnx import TensorProto

import distq
from distq.errors import UsageError


def test_auto_means_symmetric_and_every_row_is_int8_around_zero(
    model: Path, data: Path, tmp_path: Path
) -> None:
    runs = []
    for scheme in ("auto", "symmetric"):
        out = tmp_path / scheme
        calibrate(model, data, out, target="tensorrt", scheme=scheme)
        runs.append(bits(out))
    assert runs[0] == runs[1]
    rows = thresholds(tmp_path / "auto").values()
    assert all(
        (r["signed"], r["zero_point"], r["bits"], r["convention"]) == (True, 0, 8, "127") for r in rows
    )
    assert all(r["min"] == -r["max"] for r in rows)


def test_biases_are_corrected_and_stay_float(model: Path, data: Path, tmp_path: Path) -> None:
    calibrate(model, data, tmp_path / "run", target="tensorrt")
    exported = onnx.load(tmp_path / "run" / "model.int8.onnx")
    types = {t.name: t.data_type for t in exported.graph.initializer}
    assert TensorProto.INT32 not in types.values()
    assert types["first_bias_float"] == TensorProto.FLOAT


def test_a_tuned_model_is_no_further_from_float(model: Path, data: Path, tmp_path: Path) -> None:
    found = distq.tune(model=model, data=data, out=tmp_path / "run", target="tensorrt", executor="local")
    assert found.tuning is not None
    assert found.tuning.after is not None
    assert found.tuning.after.nmse <= found.tuning.before.nmse


def test_16_bits_are_refused_before_anything_is_written(model: Path, data: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="tensorrt has no 16-bit activations"):
        calibrate(model, data, tmp_path / "run", target="tensorrt", int16_layers=("first",))
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("target", ["openvino", "tensorrt"])
def test_a_network_of_one_layer_needs_no_observation_but_its_input(
    tmp_path: Path, data: Path, target: str
) -> None:
    graph = Graph(0)
    graph.conv("x", (3, CLASSES), "y")
    path = write_model(tmp_path / "one.onnx", graph.model({"y": (1, CLASSES, 8, 8)}))
    calibrate(path, data, tmp_path / "run", target=target)
    assert list(thresholds(tmp_path / "run")) == ["x"]


def test_layers_can_stay_float(model: Path, data: Path, tmp_path: Path) -> None:
    found = distq.tune(
        model=model, data=data, out=tmp_path / "run", target="tensorrt", float_budget=1, executor="local"
    )
    assert len(found.curve[-1].float_layers) == 1
    assert found.curve[-1].nmse < found.curve[0].nmse
