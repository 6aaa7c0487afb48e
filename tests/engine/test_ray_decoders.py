"""Actors that decode beside a worker on a GPU. ``cuda:0`` books none, and these units compute nothing."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import cv2
import numpy as np
import pytest
from engine_units import Decoded

from distq.data.dataset import DatasetSpec, InputSpec, Sample, UnreadableSample
from distq.engine.blas import blas_threads
from distq.engine.local import LocalExecutor
from distq.engine.ray_decoders import DecodeActor
from distq.engine.ray_pool import RayExecutor
from distq.errors import DistqError, ExecutionError, UsageError
from distq.replica.worker import WorkerSettings

SECONDS = 60
COUNT = 9
EVENTS: list[str] = []
SETTINGS = WorkerSettings("cuda:0", decode_actors=2)
PLUGIN = """
import os, pathlib, signal, sys
import numpy as np

def image_preprocess(img_path, norm=True):
    number = int(pathlib.Path(img_path).stem)
    {code}
    return np.array([[number, os.getpid()]], np.float32)
"""


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    folder = tmp_path / "photos"
    folder.mkdir()
    for number in range(COUNT):
        cv2.imwrite(str(folder / f"{number}.png"), np.zeros((1, 1, 3), np.uint8))
    return folder


@pytest.fixture
def plugged(tmp_path: Path, photos: Path) -> Callable[[str], DatasetSpec]:
    """Samples of their number and of the process that decoded them; ``code`` runs before."""

    def make(code: str = "pass") -> DatasetSpec:
        path = tmp_path / "plugin.py"
        path.write_text(PLUGIN.format(code=code))
        wanted = [InputSpec("x", (1, 2), "float32")]
        return DatasetSpec.create(photos, wanted, preprocess=path, allow_code=True)

    return make


@pytest.fixture
def free_cpus(ray_session: None) -> Callable[[], float]:
    del ray_session
    import ray  # noqa: PLC0415  # started by the fixture

    return lambda: float(ray.available_resources().get("CPU", 0))


def running(process: int) -> bool:
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def require(condition: Callable[[], bool]) -> None:
    """Wait for what other processes do."""
    deadline = time.monotonic() + SECONDS
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_they_decode_in_processes_of_their_own_in_order_and_are_gone_afterwards(
    free_cpus: Callable[[], float], plugged: Callable[[], DatasetSpec]
) -> None:
    require(lambda: free_cpus() == 4)
    with RayExecutor(1, SETTINGS) as executor:
        [(_, arrays)] = executor.run([Decoded(0, data=plugged(), indices=range(COUNT))])
        require(lambda: free_cpus() == 1)
    assert arrays["x"][:, 0].tolist() == list(range(COUNT))
    decoders = set(arrays["x"][:, 1].astype(int).tolist())
    assert len(decoders) == 2
    assert decoders.isdisjoint({int(arrays["process"]), os.getpid()})
    assert arrays["writable"], "what a worker keeps must not hold the object store"
    require(lambda: not any(running(process) for process in decoders) and free_cpus() == 4)


def test_a_plug_in_has_one_blas_thread_as_in_a_unit(plugged: Callable[[str], DatasetSpec]) -> None:
    if blas_threads() is None:
        pytest.skip("the linear algebra library of this numpy is not known")
    data = plugged("from distq.engine.blas import blas_threads; number = blas_threads()")
    sample = DecodeActor().load(data, 3)
    assert isinstance(sample, Sample)
    assert sample.inputs["x"].tolist() == [[1, os.getpid()]]


def test_their_cpus_count_when_more_is_asked_for_than_there_is(ray_session: None) -> None:
    del ray_session
    asked = "--workers 2 of 1 CPU, 2 CPUs to decode each"
    with pytest.raises(UsageError, match=rf"^{asked}: .* has 4 CPUs and 0 GPUs; ask for at most 1 workers$"):
        RayExecutor(2, SETTINGS)


@pytest.fixture(scope="module")
def executor(ray_session: None) -> Iterator[RayExecutor]:
    del ray_session
    with RayExecutor(1, SETTINGS, on_event=EVENTS.append, retries=1) as executor:
        yield executor


@pytest.fixture
def events() -> list[str]:
    EVENTS.clear()
    return EVENTS


def test_a_lost_one_costs_what_a_lost_worker_costs(
    executor: RayExecutor, events: list[str], plugged: Callable[[str], DatasetSpec], tmp_path: Path
) -> None:
    data = plugged(
        f"died = pathlib.Path({str(tmp_path / 'died')!r})\n"
        "    if number == 5 and not died.exists():\n"
        "        died.touch()\n"
        "        os.kill(os.getpid(), signal.SIGKILL)"
    )
    units = [Decoded(0, data=data, indices=range(4)), Decoded(1, data=data, indices=range(4, COUNT))]
    results = dict(executor.run(units))
    assert [results[number]["x"][:, 0].tolist() for number in (0, 1)] == [[0, 1, 2, 3], [4, 5, 6, 7, 8]]
    [event] = events
    assert event.startswith("lost a worker on ")
    assert event.endswith("(a decode worker's process ended); again: square of 1")


def test_a_sample_that_ends_them_each_time_is_named(
    executor: RayExecutor, plugged: Callable[[str], DatasetSpec]
) -> None:
    data = plugged("if number == 2: os.kill(os.getpid(), signal.SIGKILL)")
    with pytest.raises(
        ExecutionError, match=r"^square of 0: its worker was lost in each of 2 attempts: .*decode"
    ):
        list(executor.run([Decoded(0, data=data, indices=[1, 2, 3])]))


@pytest.mark.parametrize("code", ["raise ValueError('no')", "sys.exit(3)", "return 'text'"])
def test_errors_are_those_of_threads(
    code: str, executor: RayExecutor, events: list[str], plugged: Callable[[str], DatasetSpec]
) -> None:
    unit = Decoded(0, data=plugged(f"if number == 1: {code}"), indices=range(3))

    def outcome(of: RayExecutor | LocalExecutor) -> tuple[type[DistqError], int, str]:
        with pytest.raises(DistqError) as caught:
            list(of.run([unit]))
        error = caught.value
        return type(error), getattr(error, "index", -1), str(error).partition(": ")[2]

    assert outcome(executor) == outcome(LocalExecutor(WorkerSettings()))
    assert events == []


def test_an_unreadable_sample_says_which_it_is(executor: RayExecutor, photos: Path) -> None:
    (photos / "1.png").write_bytes(b"no picture")
    data = DatasetSpec.create(photos, [InputSpec("x", (1, 3, 1, 1), "float32")])
    with pytest.raises(UnreadableSample, match=r"1\.png") as caught:
        list(executor.run([Decoded(0, data=data, indices=range(3))]))
    assert caught.value.index == 1
