"""What is said where a network leaves the size of pictures open and does not run with that of a sample."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
from job_helpers import Graph, calibrate, write_model
from onnx import TensorProto

from distq.errors import DataError, ExecutionError
from distq.replica.open_sizes import run_sample
from distq.replica.session import Session
from distq.replica.worker import WorkerSettings
from distq.run.samples import InputSpec

OPEN = InputSpec("x", (1, 3, None, None), "float32")
HINT = r"does not run with 3x27x40: resize with multiple_of: 16 in --preprocess"


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A network that halves a picture four times, enlarges it again and adds both: multiples of 16 alone."""
    graph = Graph(0)
    graph.conv("x", (3, 4), "full")
    value = "full"
    for step in range(4):
        value = graph.add("MaxPool", [value], f"half{step}", kernel_shape=[2, 2], strides=[2, 2])
    graph.add("Resize", [value, "", graph.constant([1, 1, 16, 16])], "large", mode="nearest")
    graph.conv(graph.add("Add", ["full", "large"], "sum"), (4, 2), "y")
    return write_model(
        tmp_path / "model.onnx", graph.model({"y": ("N", 2, "H", "W")}, {"x": ("N", 3, "H", "W")})
    )


def session(path: Path) -> Session:
    return Session(path.read_bytes(), WorkerSettings())


def test_the_multiple_that_the_network_takes_is_named(path: Path) -> None:
    feeds = {"x": np.zeros((1, 3, 27, 40), np.float32)}
    with pytest.raises(DataError, match="sample cat: the model leaves the size of input 'x'.*" + HINT):
        run_sample(session(path), [OPEN], feeds, "sample cat")
    assert run_sample(session(path), [OPEN], {"x": np.zeros((1, 3, 32, 48), np.float32)}, "")[0].size


def test_what_fails_with_any_size_keeps_its_own_error(path: Path) -> None:
    with pytest.raises(ExecutionError, match="ONNX Runtime failed"):
        run_sample(session(path), [OPEN], {"x": np.zeros((1, 4, 32, 32), np.float32)}, "")


@pytest.mark.parametrize("odd", [0, 5])
def test_a_job_ends_with_the_remedy_whichever_sample_it_is(path: Path, tmp_path: Path, odd: int) -> None:
    (tmp_path / "photos").mkdir()
    for number in range(8):
        size = (27, 40, 3) if number == odd else (32, 48, 3)
        cv2.imwrite(
            str(tmp_path / "photos" / f"{number}.png"),
            np.random.default_rng(number).integers(0, 256, size, np.uint8),
        )
    where = r"model\.onnx" if odd == 0 else r"sample 5\.png"
    with pytest.raises(DataError, match=where + ": the model leaves .*" + HINT):
        calibrate(path, tmp_path / "photos", tmp_path / "run", samples=8)
    assert not (tmp_path / "run").exists()
    steps = "inputs: {'*': {steps: [resize: {multiple_of: 16}, color: rgb]}}"
    (tmp_path / "p.yaml").write_text(steps)
    calibrate(path, tmp_path / "photos", tmp_path / "run", samples=8, preprocess=tmp_path / "p.yaml")


@pytest.mark.parametrize("odd", [0, 5])
def test_a_word_that_the_model_does_not_know_is_told_with_its_sample(tmp_path: Path, odd: int) -> None:
    graph = Graph(0)
    table = graph.constant(np.random.default_rng(0).normal(size=(50, 8)).astype(np.float32))
    graph.add("Gather", [table, "words"], "found")
    graph.add("MatMul", ["found", graph.constant(np.ones((8, 4), np.float32))], "y")
    proto = graph.model({"y": (1, 6, 4)}, {"words": (1, 6)})
    proto.graph.input[0].type.tensor_type.elem_type = TensorProto.INT64
    model = write_model(tmp_path / "model.onnx", proto)
    words = np.random.default_rng(0).integers(0, 50, (8, 6))
    words[odd, 2] = 77
    np.savez(tmp_path / "data.npz", words=words)
    with pytest.raises(
        DataError, match=r"input 'words' holds \d+ to 77, where the model runs with 0"
    ) as told:
        calibrate(model, tmp_path / "data.npz", tmp_path / "run", samples=8)
    assert odd == 0 or f"sample {odd}: " in str(told.value)
