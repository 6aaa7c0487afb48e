"""Networks whose weights do not fit into one message: they lie in files, and nothing else changes.

The limit is lowered for these tests, so that small networks take the way of large ones.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from job_helpers import three_layers, write_model
from networks import feeds_of
from zoo import NETWORKS

import distq
from distq.errors import ModelError
from distq.graph import weight_files
from distq.graph.load import load_model
from distq.graph.read import read_proto


@pytest.fixture(autouse=True)
def low_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(weight_files, "MOST_INSIDE", 256)
    monkeypatch.setattr(weight_files, "MOST_IN_ONE_FILE", 256)
    monkeypatch.setattr(weight_files, "LEAST_BYTES", 64)


def tuned(model: Path, data: Path, out: Path, **options) -> distq.RunResult:
    options = {"method": "mse", "tune_samples": 4, "samples": 8, "executor": "local", **options}
    return distq.tune(model=model, data=data, out=out, **options)


def with_external_data(path: Path, proto: onnx.ModelProto) -> Path:
    onnx.save_model(proto, path, save_as_external_data=True, location="weights.bin", size_threshold=0)
    return path


def test_a_large_network_gets_the_same_thresholds_and_weights(tmp_path, data, monkeypatch):
    large = with_external_data(tmp_path / "large.onnx", three_layers())
    found = tuned(large, data, tmp_path / "large")
    monkeypatch.undo()
    small = write_model(tmp_path / "small.onnx", three_layers())
    wanted = tuned(small, data, tmp_path / "small")
    assert (tmp_path / "large/thresholds.json").read_bytes() == (
        tmp_path / "small/thresholds.json"
    ).read_bytes()
    assert found.holdout == wanted.holdout
    made, expected = (inside(tmp_path / name / "model.int8.onnx") for name in ("large", "small"))
    assert made == expected


def test_what_fits_into_one_file_is_written_as_one(tmp_path, data, monkeypatch):
    """Whether its weights lay in files meanwhile makes no difference to a byte."""
    monkeypatch.setattr(weight_files, "MOST_IN_ONE_FILE", 1 << 29)
    model = write_model(tmp_path / "model.onnx", three_layers())
    tuned(model, data, tmp_path / "large")
    monkeypatch.undo()
    tuned(model, data, tmp_path / "small")
    assert not (tmp_path / "large/model.int8.onnx.data").exists()
    for name in ("model.int8.onnx", "thresholds.json"):
        assert (tmp_path / "large" / name).read_bytes() == (tmp_path / "small" / name).read_bytes()


@pytest.mark.parametrize("name", sorted(NETWORKS))
def test_any_large_network_is_calibrated_as_a_small_one(tmp_path, monkeypatch, name):
    proto = NETWORKS[name]()
    feeds = {key: np.repeat(value, 4, 0) for key, value in feeds_of(proto).items()}
    np.savez(tmp_path / "data.npz", **feeds)
    results = []
    for size in ("large", "small"):
        path = with_external_data(tmp_path / f"{size}.onnx", proto)
        distq.calibrate(model=path, data=tmp_path / "data.npz", out=tmp_path / size, executor="local")
        files = tmp_path / size / "thresholds.json", tmp_path / size / "model.int8.onnx"
        results.append((files[0].read_bytes(), inside(files[1])))
        monkeypatch.undo()
    assert results[0] == results[1]


def inside(path: Path) -> onnx.ModelProto:
    """A model with all its weights inside, wherever they were."""
    proto = onnx.load_model(path)
    for tensor in proto.graph.initializer:
        tensor.ClearField("data_location")
    return proto


@pytest.mark.parametrize("target", ["ort", "openvino", "tensorrt"])
def test_its_int8_model_has_its_weights_beside_it_and_is_evaluated(tmp_path, data, target):
    large = with_external_data(tmp_path / "large.onnx", three_layers())
    result = tuned(large, data, tmp_path / "run", target=target, float_budget=1)
    model, weights = tmp_path / "run/model.int8.onnx", tmp_path / "run/model.int8.onnx.data"
    assert {model, weights} <= set(result.files)
    named = {
        entry.value
        for tensor in onnx.load_model(model, load_external_data=False).graph.initializer
        for entry in tensor.external_data
        if entry.key == "location"
    }
    assert named == {weights.name}
    onnx.checker.check_model(model)
    assert onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"]).get_outputs()
    found = distq.evaluate(model, against=large, data=data, samples=8, executor="local")
    assert found.candidate.sqnr_db == pytest.approx(_sqnr_of(tmp_path / "run", data, large), abs=1e-4)


def _sqnr_of(run: Path, data: Path, original: Path) -> float:
    error = power = 0.0
    sessions = [
        onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
        for path in (run / "model.int8.onnx", original)
    ]
    for sample in np.load(data)[:8]:
        found, wanted = (s.run(None, {"x": sample[None]})[0] for s in sessions)
        error += float(((found - wanted) ** 2).sum())
        power += float((wanted**2).sum())
    return -10 * np.log10(error / power)


def test_files_of_weights_that_do_not_fit_the_network_are_named(tmp_path):
    path = with_external_data(tmp_path / "large.onnx", three_layers())
    weights = tmp_path / "weights.bin"
    weights.write_bytes(weights.read_bytes()[:64])
    with pytest.raises(ModelError, match=r"weights.bin is too short"):
        load_model(path)
    weights.unlink()
    with pytest.raises(ModelError, match=r"weights.bin"):
        load_model(path)


def test_weights_out_of_the_folder_of_the_model_are_refused(tmp_path):
    folder = tmp_path / "folder"
    folder.mkdir()
    path = with_external_data(folder / "large.onnx", three_layers())
    (folder / "weights.bin").rename(tmp_path / "weights.bin")
    proto = onnx.load_model(path, load_external_data=False)
    for tensor in proto.graph.initializer:
        for entry in tensor.external_data:
            if entry.key == "location":
                entry.value = "../weights.bin"
    path.write_bytes(proto.SerializeToString())
    with pytest.raises(ModelError, match="outside of its folder"):
        load_model(path)


def test_another_content_is_another_model(tmp_path):
    path = with_external_data(tmp_path / "large.onnx", three_layers())
    before = read_proto(path)[1]
    assert read_proto(path)[1] == before
    weights = bytearray((tmp_path / "weights.bin").read_bytes())
    weights[0] ^= 1
    (tmp_path / "weights.bin").write_bytes(weights)
    assert read_proto(path)[1] != before


def test_the_key_of_a_model_is_the_same_wherever_its_weights_lie(tmp_path, monkeypatch):
    path = with_external_data(tmp_path / "large.onnx", three_layers())
    found = []
    for name in ("distq-weights-a", "a much longer place/distq-weights-b"):
        place = tmp_path / name
        place.mkdir(parents=True)
        monkeypatch.setattr(weight_files, "folder", lambda place=place: place)
        found.append(read_proto(path)[1])
    assert found[0] == found[1]


def test_it_has_a_report_page(tmp_path, data):
    large = with_external_data(tmp_path / "large.onnx", three_layers())
    distq.calibrate(model=large, data=data, out=tmp_path / "run", samples=8, executor="local", report=True)
    assert (tmp_path / "run/report.html").is_file()
