"""Weights of large networks get to workers on machines that do not have them, and go with these workers."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

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
    worker = subprocess.Popen(  # noqa: S603  # this Python
        [sys.executable, "-c", PROVIDE, location_of(place)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert worker.stdout is not None
    assert worker.stdout.readline() == "weights\n"
    assert place.is_file()
    if end == "killed":
        worker.kill()
    worker.communicate()
    deadline = time.monotonic() + 30
    while place.parent.exists() and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not place.parent.exists()


@pytest.mark.usefixtures("ray_session")
def test_a_model_on_a_cluster_brings_its_weights(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(weight_files, "MOST_INSIDE", 0)
    location = weight_files.put(b"some weights")
    model = f"refers to {location}".encode()
    monkeypatch.setattr(weight_files, "locations", lambda data: [location] if data == model else [])
    with RayExecutor(1, WorkerSettings()) as executor:
        blob = executor.share(model)
        import ray  # noqa: PLC0415  # as everywhere

        assert {place: ray.get(handle) for place, handle in blob.weights.items()} == {
            location: b"some weights"
        }
        assert executor.share(b"another model").weights == {}
