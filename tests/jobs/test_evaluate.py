"""``distq eval``: a model against float, and right answers where there are labels."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from job_helpers import CLASSES, SAMPLES, Graph, Reference, samples, three_layers, write_model, write_photos

import distq
from distq.cli.app import invoke
from distq.errors import DataError, ModelError
from distq.run.results import Accuracy, EvaluateResult, FloatAccuracy


def evaluate(candidate: Path, data: Path, **options: Any) -> EvaluateResult:
    return distq.evaluate(candidate, data=data, executor="local", **options)


@pytest.fixture(scope="module")
def quantized(model: Path, data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("evaluate") / "run"
    return (
        distq.calibrate(model=model, data=data, out=out, samples=8, executor="local").out / "model.int8.onnx"
    )


@pytest.fixture(scope="module")
def labels(model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The float model is right on all but the last three samples."""
    exact = Reference(model)
    right = [int(exact(image).argmax()) for image in samples()]
    path = tmp_path_factory.mktemp("labels") / "labels.txt"
    shifted = [label if i < 9 else (label + 1) % CLASSES for i, label in enumerate(right)]
    path.write_text("\n".join(f"{i} {label}" for i, label in enumerate(shifted)))
    return path


def test_it_gives_the_distance_from_float(quantized: Path, model: Path, data: Path) -> None:
    found = evaluate(quantized, data, against=model)
    assert found.images == SAMPLES
    assert isinstance(found.candidate, Accuracy)
    y32 = np.array([Reference(model)(image) for image in samples()], np.float64)
    y8 = np.array([Reference(quantized)(image) for image in samples()], np.float64)
    assert found.candidate.nmse == pytest.approx(np.sum((y8 - y32) ** 2) / np.sum(y32**2), rel=1e-3)
    assert found.candidate.top1 is None
    assert found.against is None


def test_it_agrees_with_the_report_of_calibrate(
    quantized: Path, model: Path, data: Path, tmp_path: Path
) -> None:
    run = distq.calibrate(model=model, data=data, out=tmp_path / "run", samples=8, executor="local")
    assert run.tuning is not None
    assert evaluate(quantized, data, against=model, samples=8).candidate == run.tuning.before


def test_a_model_equals_itself(model: Path, data: Path) -> None:
    found = evaluate(model, data, against=model).candidate
    assert isinstance(found, Accuracy)
    assert (found.nmse, found.sqnr_db) == (0.0, float("inf"))
    assert found.cosine == pytest.approx(1.0)


def test_without_a_float_model_it_counts_right_answers_alone(model: Path, data: Path, labels: Path) -> None:
    found = evaluate(model, data, labels=labels)
    assert isinstance(found.candidate, FloatAccuracy)
    assert found.candidate.top1 == 0.75
    assert found.candidate.top5 >= 0.75
    assert found.against is None


def test_with_labels_and_a_float_model_it_gives_both(
    quantized: Path, model: Path, data: Path, labels: Path
) -> None:
    found = evaluate(quantized, data, against=model, labels=labels)
    assert isinstance(found.candidate, Accuracy)
    assert found.candidate.top1 is not None
    assert found.against is not None
    assert found.against.top1 == 0.75


def test_without_labels_and_float_model_there_is_nothing_to_say_but_the_count(
    quantized: Path, data: Path
) -> None:
    assert evaluate(quantized, data) == EvaluateResult(images=SAMPLES, candidate=None)


@settings(deadline=None, max_examples=8, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(size=st.integers(1, SAMPLES + 1))
def test_the_figures_do_not_depend_on_the_shard_size(
    size: int, quantized: Path, model: Path, data: Path, labels: Path
) -> None:
    found = evaluate(quantized, data, against=model, labels=labels, shard_size=size)
    assert found == evaluate(quantized, data, against=model, labels=labels, shard_size=SAMPLES)


def test_a_number_of_samples_in_shuffled_order(quantized: Path, model: Path, data: Path) -> None:
    every = [evaluate(quantized, data, against=model, samples=5, shuffle=True, seed=s) for s in (1, 1, 2)]
    assert every[0] == every[1] != every[2]
    assert every[0].images == 5


def test_weights_listed_as_inputs_are_no_data(model: Path, data: Path, labels: Path, tmp_path: Path) -> None:
    proto = onnx.load(model)
    proto.ir_version = 3
    for tensor in proto.graph.initializer:
        listed = onnx.helper.make_tensor_value_info(tensor.name, tensor.data_type, tensor.dims)
        proto.graph.input.append(listed)
    old = write_model(tmp_path / "old.onnx", proto)
    assert evaluate(old, data, labels=labels) == evaluate(model, data, labels=labels)
    assert evaluate(old, data, against=model).candidate == evaluate(model, data, against=model).candidate


def test_unreadable_images_are_left_out_as_far_as_allowed(model: Path, tmp_path: Path) -> None:
    photos = write_photos(tmp_path / "photos", 6)
    (photos / "4.png").write_bytes(b"")
    with pytest.raises(
        DataError, match=r"4\.png is empty; mend or remove it, or allow some with --skip-bad 1"
    ):
        evaluate(model, photos, against=model)
    for shard_size in (1, 8):
        assert evaluate(model, photos, against=model, skip_bad=1, shard_size=shard_size).images == 5


def test_models_that_cannot_be_fed_the_same_are_refused(model: Path, data: Path, tmp_path: Path) -> None:
    graph = Graph(0)
    graph.conv("picture", (3, 4), "y")
    other = write_model(tmp_path / "other.onnx", graph.model({"y": (1, 4, 8, 8)}, {"picture": (1, 3, 8, 8)}))
    with pytest.raises(ModelError, match=r"takes x \(3x8x8 float32\), .* takes picture \(3x8x8 float32\): "):
        evaluate(model, data, against=other)
    larger = three_layers()
    larger.graph.input[0].type.tensor_type.shape.dim[2].dim_value = 16
    with pytest.raises(ModelError, match="compare models with the same inputs"):
        evaluate(model, data, against=write_model(tmp_path / "larger.onnx", larger))


def test_models_of_other_outputs_are_refused(model: Path, data: Path, tmp_path: Path) -> None:
    graph = Graph(0)
    graph.conv("x", (3, 4), "y")
    other = write_model(tmp_path / "other.onnx", graph.model({"y": (1, 4, 8, 8)}))
    with pytest.raises(ModelError, match="compare models that have the same outputs"):
        evaluate(model, data, against=other)


def test_without_float_and_labels_it_says_what_to_give(quantized: Path, data: Path, capsys) -> None:
    line = ["eval", str(quantized), "--data", str(data), "--executor", "local"]
    assert invoke(line) == 0
    captured = capsys.readouterr()
    assert captured.out.strip() == ""
    assert "warning: nothing was measured: give --against FLOAT, or labels with --labels FILE" in captured.err


def test_a_network_in_float64_is_compared_as_calibrate_does(model: Path, data: Path, tmp_path: Path) -> None:
    """ONNX Runtime has no convolution of float64."""
    proto = onnx.load(model)
    for tensor in proto.graph.initializer:
        values = onnx.numpy_helper.to_array(tensor)
        if values.dtype == np.float32:
            tensor.CopyFrom(onnx.numpy_helper.from_array(values.astype(np.float64), tensor.name))
    for value in (*proto.graph.input, *proto.graph.output):
        value.type.tensor_type.elem_type = onnx.TensorProto.DOUBLE
    double = tmp_path / "double.onnx"
    onnx.save(proto, double)
    options = {"data": data, "samples": 8, "executor": "local"}
    run = distq.calibrate(model=double, out=tmp_path / "run", **options)
    assert run.tuning is not None
    found = evaluate(run.out / "model.int8.onnx", data, against=double, samples=8)
    assert found.candidate == run.tuning.before
