"""The pool when things go wrong: killed processes, poison units, a cluster with too little."""

from __future__ import annotations

import re
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from engine_units import Fetch, Held, Kept, Kill, Refuse, Slow, Square

from distq.engine.executor import LOOK_AHEAD, Unit
from distq.engine.ray_pool import RayExecutor
from distq.engine.ray_round import require_one_processor
from distq.errors import DataError, ExecutionError, InterruptedRun
from distq.instructions import integer_instructions
from distq.replica.worker import WorkerSettings

EVENTS: list[str] = []


@pytest.fixture(scope="module")
def pool(ray_session: None) -> Iterator[RayExecutor]:
    del ray_session
    with RayExecutor(2, WorkerSettings(), on_event=EVENTS.append, retries=2) as executor:
        yield executor


def collect(pool: RayExecutor, units: list[Square], into: dict[int, int]) -> None:
    for position, arrays in pool.run(units):
        into[position] = int(arrays["square"][0])


@pytest.fixture
def events() -> list[str]:
    EVENTS.clear()
    return EVENTS


def test_a_unit_whose_process_is_killed_runs_again(
    pool: RayExecutor, events: list[str], tmp_path: Path
) -> None:
    units = [*map(Square, range(3)), Kill(3, seen=tmp_path / "seen"), *map(Square, range(4, 12))]
    results: dict[int, int] = {}
    collect(pool, units, results)
    assert results == {number: number**2 for number in range(12)}
    assert (tmp_path / "seen").read_text().split() == ["3", "3"]
    assert len(events) == 1
    assert events[0].startswith("lost a worker on ")
    assert "(its process ended); again: " in events[0]
    assert "square of 3" in events[0]


def test_a_poison_unit_is_named_when_the_others_are_done(
    pool: RayExecutor, events: list[str], tmp_path: Path
) -> None:
    seen = tmp_path / "seen"
    units = [Square(0), Kill(1, seen=seen, times=99), *map(Square, range(2, 60))]
    results: dict[int, int] = {}
    with pytest.raises(
        ExecutionError, match=r"^square of 1: its worker was lost in each of 3 attempts: "
    ) as caught:
        collect(pool, units, results)
    assert caught.value.exit_code == 3
    attempts = re.findall(r"process (\d+), node [0-9a-f]{8} \(its process ended\)", str(caught.value))
    assert len(set(attempts)) == 3, "each attempt with host, process and node"
    assert results == {number: number**2 for number in range(60) if number != 1}
    assert seen.read_text().split() == ["1", "1", "1"], (
        "retries=2 is three attempts, and neighbours are not blamed"
    )
    assert len(events) == 3
    assert events[1].endswith("; again: square of 1")
    assert events[2].endswith("; given up: square of 1")


def test_a_unit_that_refuses_is_not_tried_again(pool: RayExecutor, events: list[str]) -> None:
    with pytest.raises(DataError):
        list(pool.run([Refuse(0)]))
    assert events == []


def test_no_unit_starts_far_ahead_of_an_unfinished_one(pool: RayExecutor, tmp_path: Path) -> None:
    seen, gate = tmp_path / "seen", tmp_path / "gate"
    seen.touch()
    units = [Held(0, gate=gate), *(Square(number, seen=seen) for number in range(1, 100))]
    results = pool.run(units)
    most = LOOK_AHEAD * pool.workers
    before = [next(results)[0] for _ in range(most - 2)]  # one more waits behind the held one
    assert max(before) < most
    assert len(seen.read_text().split()) == most - 2
    gate.touch()
    assert len(list(results)) == 100 - len(before)


def test_units_that_are_appended_run_while_another_is_unfinished(pool: RayExecutor, tmp_path: Path) -> None:
    units: list[Unit] = []

    def more() -> bool:
        if len(units) < 2:
            units.append(Square(2) if units else Held(1, gate=tmp_path / "gate"))
            return True
        return False

    found = []
    for position, arrays in pool.run(units, more):
        found.append((position, int(arrays["square"][0])))
        if len(found) < 3:
            units.append(Square(10 * len(found)))
        elif len(found) == 3:
            (tmp_path / "gate").touch()
    assert found == [(1, 4), (2, 100), (3, 400), (0, 1)]


def test_a_unit_is_with_its_worker_before_more_are_asked_for(pool: RayExecutor) -> None:
    list(pool.run([Square(1), Square(1), Square(1), Square(1)]))  # both workers have answered
    units: list[Unit] = []
    given: list[list[str]] = []

    def more() -> bool:
        given.append([label for _, label in pool.doing() if label])
        units.extend([Square(len(units))] if len(units) < 2 else [])
        return len(given) <= 2

    assert sorted(position for position, _ in pool.run(units, more)) == [0, 1]
    assert given[:2] == [[], ["square of 0"]]


def test_bytes_are_put_into_the_store_once(pool: RayExecutor) -> None:
    assert pool.share(b"model") is pool.share(b"model")


def test_what_a_busy_cluster_does_not_give_is_said(ray_session: None, pool: RayExecutor) -> None:
    del ray_session
    list(pool.run([Square(1)]))  # it holds two of four CPUs
    with (
        RayExecutor(1, WorkerSettings(threads=3), start_seconds=0.5) as starved,
        pytest.raises(ExecutionError, match=r"0 of 1 workers started .* has 4 CPUs .* fewer --workers"),
    ):
        list(starved.run([Square(1)]))


def test_a_run_left_early_is_over_when_the_next_begins(pool: RayExecutor) -> None:
    left = pool.run([Square(number) for number in range(50)])
    next(left)
    assert [position for position, _ in pool.run([Square(3)])] == [0]
    assert list(left) == []


class TestParts:
    """Workers dealt out to threads."""

    @pytest.fixture
    def stopping(self) -> threading.Event:
        return threading.Event()

    @pytest.fixture
    def parts(self, ray_session: None, stopping: threading.Event) -> Iterator[list[RayExecutor]]:
        del ray_session
        with RayExecutor(2, WorkerSettings()) as whole:
            yield whole.split(2, stopping)

    def test_each_runs_its_own_units_at_the_same_time(self, parts: list[RayExecutor]) -> None:
        assert [part.workers for part in parts] == [1, 1]
        blobs = [part.share(b"model") for part in parts]
        parts[0].forget()
        runs = [
            part.run([Fetch(0, blob=blob) for _ in range(9)]) for part, blob in zip(parts, blobs, strict=True)
        ]
        for both in zip(*runs, strict=True):
            assert {arrays["bytes"].tobytes() for _, arrays in both} == {b"model"}

    def test_workers_are_handed_over_to_a_part_that_runs(self, parts: list[RayExecutor]) -> None:
        taking, giving = parts
        list(giving.run([Kept(0)]))
        units = taking.run([Kept(number) for number in range(40)])
        processes = {int(next(units)[1]["process"])}
        giving.hand_over(taking)
        assert (giving.workers, taking.workers) == (0, 2)
        results = list(units)
        processes |= {int(arrays["process"]) for _, arrays in results}
        assert len(results) == 39
        assert len(processes) == 2

    def test_a_run_in_another_thread_is_ended(
        self, parts: list[RayExecutor], stopping: threading.Event
    ) -> None:
        units = parts[0].run([Slow(number, seconds=0.01) for number in range(1000)])
        next(units)
        stopping.set()
        with pytest.raises(InterruptedRun):
            list(units)


def test_workers_on_different_processors_are_refused(pool: RayExecutor) -> None:
    list(pool.run([Square(1)]))
    assert pool._processors is not None
    assert list(pool._processors) == [integer_instructions()]
    known = {"x86_64 avx512_vnni": "a, process 1"}
    require_one_processor(known, "x86_64 avx512_vnni", "b, process 2")
    with pytest.raises(
        ExecutionError, match=r"avx512_vnni \(a, process 1\) and x86_64 avx2 \(c, process 3\); use"
    ):
        require_one_processor(known, "x86_64 avx2", "c, process 3")


def test_each_worker_tells_the_most_memory_it_had(pool: RayExecutor) -> None:
    list(pool.run([Square(number) for number in range(8)]))
    peaks = pool.peak_rss_mb()
    assert len(peaks) == pool.workers
    assert min(peaks) > 10


def test_a_worker_that_the_system_killed_for_memory_is_named_as_that(
    pool: RayExecutor, events: list[str], tmp_path: Path
) -> None:
    list(pool.run([Square(number) for number in range(8)]))
    for seat in pool._seats:
        seat._kills = -1  # so that there has been one since
    list(pool.run([Kill(0, seen=tmp_path / "seen")]))
    (event,) = events
    assert "(the system killed it for memory: take fewer --workers or a smaller --cache-memory)" in event
