"""Models that take a whole sample at once: a fixed batch, time first, a state, a single number."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from job_helpers import SHAPE, Graph, calibrate, samples, thresholds, write_model

import distq
from distq.errors import DataError, ModelError
from distq.run.results import Accuracy

COUNT = 6


def convolutions(batch: int | str) -> onnx.ModelProto:
    graph = Graph(0)
    graph.add("Relu", [graph.conv("x", (3, 4), "sums")], "first")
    graph.conv("first", (4, 2), "y")
    return graph.model({"y": (batch, 2, 8, 8)}, {"x": (batch, *SHAPE)})


def time_first(steps: int | str) -> onnx.ModelProto:
    """A recurrent layer over (steps, 1, 5) from a state of (1, 1, 4), and a MatMul."""
    graph = Graph(0)
    weights = [graph.constant(graph.rng.standard_normal((1, 16, size))) for size in (5, 4)]
    zeros = graph.constant(np.zeros((1, 32)))
    graph.add("LSTM", ["x", *weights, zeros, "", "h", "c"], "all", hidden_size=4)
    graph.add("ReduceSum", ["all", graph.add("Constant", [], "axis", value_ints=[1])], "last", keepdims=0)
    graph.add("MatMul", ["last", graph.constant(graph.rng.standard_normal((4, 3)))], "y")
    states = {"h": (1, 1, 4), "c": (1, 1, 4)}
    return graph.model({"y": (steps, 1, 3)}, {"x": (steps, 1, 5), **states})


def with_state_and_number() -> onnx.ModelProto:
    """Images scaled by a number, beside a state of two rows that are summed up and added."""
    graph = Graph(0)
    graph.add("Mul", ["x", "scale"], "scaled")
    graph.add("ReduceMean", ["state"], "mean", axes=[0], keepdims=1)
    graph.gemm("mean", (4, 4), "vector")
    graph.constants.append(onnx.numpy_helper.from_array(np.array([1, 4, 1, 1]), "shape"))
    graph.add("Reshape", ["vector", "shape"], "added")
    graph.add("Add", [graph.conv("scaled", (3, 4), "sums"), "added"], "both")
    graph.conv("both", (4, 2), "y")
    return graph.model({"y": ("N", 2, 8, 8)}, {"x": ("N", *SHAPE), "state": (2, 4), "scale": ()})


def write_data(path: Path, **arrays: Any) -> Path:
    np.savez(path, **{name: np.asarray(array, np.float32) for name, array in arrays.items()})
    return path


STATE = np.zeros((COUNT, 1, 1, 4))
STEPS = samples(COUNT, (7, 1, 5))
CASES: dict[str, tuple[Callable[[], onnx.ModelProto], dict[str, Any]]] = {
    "a batch of two": (lambda: convolutions(2), {"x": samples(COUNT, (2, *SHAPE))}),
    "time first": (lambda: time_first(7), {"x": STEPS, "h": STATE, "c": STATE}),
    "time first, of any length": (lambda: time_first("T"), {"x": STEPS, "h": STATE, "c": STATE[:, 0]}),
    "a state and a number beside images": (
        with_state_and_number,
        {"x": samples(COUNT), "state": samples(COUNT, (2, 4)), "scale": np.linspace(1, 2, COUNT)},
    ),
}


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("target", ["ort", "openvino"])
def test_each_sample_is_fed_whole(name: str, target: str, tmp_path: Path) -> None:
    make, arrays = CASES[name]
    model, data = write_model(tmp_path / "m.onnx", make()), write_data(tmp_path / "data.npz", **arrays)
    result = calibrate(model, data, tmp_path / "run", target=target)
    assert result.tuning is not None
    assert result.tuning.images == COUNT
    assert result.tuning.before.sqnr_db > 20
    found = distq.evaluate(tmp_path / "run" / "model.int8.onnx", against=model, data=data, executor="local")
    assert isinstance(found.candidate, Accuracy)
    assert found.candidate.sqnr_db == pytest.approx(result.tuning.before.sqnr_db)


def test_what_is_observed_is_that_of_all_places_of_a_batch(tmp_path: Path) -> None:
    arrays = samples(COUNT, (2, *SHAPE))
    two = write_model(tmp_path / "two.onnx", convolutions(2))
    one = write_model(tmp_path / "one.onnx", convolutions(1))
    calibrate(two, write_data(tmp_path / "two.npz", x=arrays), tmp_path / "two")
    calibrate(one, write_data(tmp_path / "one.npz", x=arrays.reshape(-1, *SHAPE)), tmp_path / "one")
    seen = [
        {name: (row["observed_min"], row["observed_max"]) for name, row in thresholds(run).items()}
        for run in (tmp_path / "two", tmp_path / "one")
    ]
    assert seen[0] == seen[1]


def test_tuning_searches_with_whole_samples(tmp_path: Path) -> None:
    make, arrays = CASES["a state and a number beside images"]
    model, data = write_model(tmp_path / "m.onnx", make()), write_data(tmp_path / "data.npz", **arrays)
    run = distq.tune(model=model, data=data, out=tmp_path / "run", executor="local", tune_samples=4)
    session = onnxruntime.InferenceSession(run.out / "model.int8.onnx", providers=["CPUExecutionProvider"])
    feeds = {
        name: np.asarray(array[:1] if name == "x" else array[0], np.float32) for name, array in arrays.items()
    }
    assert session.run(None, feeds)[0].shape == (1, 2, 8, 8)


@pytest.mark.parametrize("shape", [(8, *SHAPE), (8, 1, *SHAPE), (8, 3, *SHAPE)])
def test_rows_are_not_repeated_to_fill_a_batch(shape: Sequence[int], tmp_path: Path) -> None:
    model = write_model(tmp_path / "m.onnx", convolutions(2))
    with pytest.raises(DataError, match="a sample is the whole input: give 2x3x8x8 for each"):
        calibrate(model, write_data(tmp_path / "data.npz", x=np.zeros(shape)), tmp_path / "run")


def test_a_dimension_that_one_model_leaves_open_is_the_others(tmp_path: Path) -> None:
    data = write_data(tmp_path / "data.npz", x=samples(COUNT, (2, *SHAPE)))
    fixed = write_model(tmp_path / "fixed.onnx", convolutions(2))
    free = write_model(tmp_path / "open.onnx", convolutions("N"))
    other = write_model(tmp_path / "other.onnx", convolutions(3))
    rows = write_data(tmp_path / "rows.npz", x=samples(COUNT))
    for candidate, against in ((fixed, free), (free, fixed)):
        found = distq.evaluate(candidate, against=against, data=data, executor="local")
        assert isinstance(found.candidate, Accuracy)
        assert found.candidate.cosine == pytest.approx(1.0)
        with pytest.raises(DataError, match="the model takes 2x3x8x8"):
            distq.evaluate(candidate, against=against, data=rows, executor="local")
    with pytest.raises(ModelError, match=r"takes x \(2x3x8x8 float32\), .* takes x \(3x3x8x8 float32\)"):
        distq.evaluate(fixed, against=other, data=data, executor="local")
