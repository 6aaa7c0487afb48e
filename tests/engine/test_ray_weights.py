"""Weights of large networks get to workers on machines that do not have them, and go with these workers."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import onnx
import pytest

from distq.engine.ray_pool import RayExecutor
from distq.graph import weight_files
from distq.graph.weight_files import location_of
from distq.replica.worker import WorkerSettings

PROVIDE = """
import ray, sys
from distq.engine.ray_weights import provide
ray.get = lambda content: content
provide({sys.argv[1]: b"weights"})
provide({sys.argv[1]: b"not written again"})
print(open("/" + sys.argv[1]).read(), flush=True)
sys.stdin.read()
"""


@pytest.mark.parametrize("end", ["in order", "killed"])
def test_what_a_worker_writes_goes_when_it_ends(tmp_path: Path, end: str) -> None:
    place = tmp_path / "distq-weights-of-elsewhere" / "content"
    worker = _worker(place)
    assert place.is_file()
    if end == "killed":
        worker.kill()
    worker.communicate()
    assert _goes(place.parent)


def test_a_file_stays_for_the_workers_that_are_left(tmp_path: Path) -> None:
    place = tmp_path / "distq-weights-of-elsewhere" / "content"
    first, second = _worker(place), _worker(place)
    first.kill()
    first.communicate()
    time.sleep(0.5)  # what would remove it has seen the end
    assert place.read_text() == "weights"
    second.communicate()
    assert _goes(place.parent)


@pytest.mark.usefixtures("ray_session")
def test_a_model_on_a_cluster_brings_its_weights() -> None:
    content = np.arange(4, dtype=np.float32).tobytes()
    location = weight_files.put(content)
    with RayExecutor(1, WorkerSettings()) as executor:
        blob = executor.share(_model_with_weights_at(location))
        import ray  # noqa: PLC0415  # as everywhere

        assert {place: ray.get(handle) for place, handle in blob.weights.items()} == {location: content}
        assert executor.share(_model_with_weights_at(None)).weights == {}


def _model_with_weights_at(location: str | None) -> bytes:
    weights = onnx.numpy_helper.from_array(np.arange(4, dtype=np.float32), "w")
    if location is not None:
        weight_files.refer(weights, location, 0, 16)
    row = onnx.helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, [4])
    out = onnx.helper.make_tensor_value_info("y", onnx.TensorProto.FLOAT, [4])
    add = onnx.helper.make_node("Add", ["x", "w"], ["y"])
    return bytes(
        onnx.helper.make_model(
            onnx.helper.make_graph([add], "g", [row], [out], [weights])
        ).SerializeToString()
    )


def _worker(place: Path) -> subprocess.Popen[str]:
    """A process that was given the weights."""
    worker = subprocess.Popen(  # noqa: S603  # this Python
        [sys.executable, "-c", PROVIDE, location_of(place)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert worker.stdout is not None
    assert worker.stdout.readline() == "weights\n"
    return worker


def _goes(folder: Path) -> bool:
    deadline = time.monotonic() + 30
    while folder.exists() and time.monotonic() < deadline:
        time.sleep(0.05)
    return not folder.exists()
