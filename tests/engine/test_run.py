from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

import numpy as np
import pytest
from engine_units import Refuse, Slow, Square
from hypothesis import given
from hypothesis import strategies as st

from distq.engine.executor import LOOK_AHEAD, More, Unit, no_more
from distq.engine.journal import Journal
from distq.engine.local import LocalExecutor
from distq.engine.progress import SilentReporter
from distq.engine.ray_pool import RayExecutor
from distq.engine.run import Tally, run_batches, run_units
from distq.errors import DataError, ExecutionError
from distq.replica.worker import Arrays, WorkerSettings


class Counting(SilentReporter):
    """Remembers how far it was advanced."""

    def __init__(self) -> None:
        self.done = 0

    def advance(self, count: int = 1) -> None:
        self.done += count


class Shuffled(LocalExecutor):
    """Finishes units in an order of its own, and fails one after the others were finished."""

    def __init__(self, order: Sequence[int], fail: int | None = None) -> None:
        super().__init__(WorkerSettings())
        self._order = order
        self._fail = fail

    def run(self, units: Sequence[Unit], more: More = no_more) -> Iterator[tuple[int, Arrays]]:
        results = dict(super().run(units, more))
        for position in self._order:
            if position < len(units) and position != self._fail:
                yield position, results[position]
        if self._fail is not None:
            raise ExecutionError(f"{units[self._fail].label}: lost")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def values(results: Iterator[Arrays]) -> list[int]:
    return [int(arrays["square"][0]) for arrays in results]


@given(st.permutations(range(8)))
def test_results_come_in_unit_order_whatever_order_they_arrive_in(order: list[int]) -> None:
    reporter = Counting()
    units = [Square(number) for number in range(8)]
    results = values(run_units(Shuffled(order), None, units, reporter, weight=lambda unit: len(unit.key)))
    assert results == [number**2 for number in range(8)]
    assert reporter.done == sum(len(unit.key) for unit in units)


def test_units_in_the_journal_do_not_run_again(tmp_path: Path) -> None:
    seen, tally, reporter = tmp_path / "seen", Tally(), Counting()
    units = [Square(number, seen=seen) for number in range(6)]
    with LocalExecutor(WorkerSettings()) as executor, Journal(tmp_path / "journal.jsonl") as journal:
        list(run_units(executor, journal, units[1:4], SilentReporter()))
    with LocalExecutor(WorkerSettings()) as executor, Journal(tmp_path / "journal.jsonl") as journal:
        assert values(run_units(executor, journal, units, reporter, tally=tally)) == [0, 1, 4, 9, 16, 25]
    assert seen.read_text().split() == ["1", "2", "3", "0", "4", "5"]
    assert tally == Tally(ran=3, recalled=3)
    assert reporter.done == 6


def test_what_finished_before_an_error_is_journalled(tmp_path: Path) -> None:
    units = [Square(0), Square(1), Refuse(2), Square(3)]
    with LocalExecutor(WorkerSettings()) as executor, Journal(tmp_path / "journal.jsonl") as journal:
        with pytest.raises(DataError):
            list(run_units(executor, journal, units, SilentReporter()))
        assert [unit.key in journal for unit in units] == [True, True, False, False]


def test_what_finished_around_a_poison_unit_is_journalled_and_not_piled_up(tmp_path: Path) -> None:
    count = 10 * LOOK_AHEAD
    units = [Square(number) for number in range(count)]
    with Shuffled(range(count), fail=2) as executor, Journal(tmp_path / "journal.jsonl") as journal:
        with pytest.raises(ExecutionError, match="square of 2: lost"):
            list(run_units(executor, journal, units, SilentReporter()))
        assert [unit for unit in units if unit.key not in journal] == [units[2]]


def test_nothing_is_lost_when_workers_join_while_units_run() -> None:
    class Growing(Shuffled):
        workers = 1

        def run(self, units: Sequence[Unit]) -> Iterator[tuple[int, Arrays]]:
            for position, arrays in super().run(units):
                yield position, arrays
                self.workers = 4

    ahead = 4 * LOOK_AHEAD
    order = [*range(1, ahead), 0, ahead]
    units = [Square(number) for number in range(ahead + 1)]
    assert values(run_units(Growing(order), None, units, SilentReporter())) == [
        n**2 for n in range(ahead + 1)
    ]


def test_a_resumed_run_gives_the_bits_of_one_that_ran_through(
    ray_executor: RayExecutor, tmp_path: Path
) -> None:
    units = [Slow(number, seconds=0.001) for number in range(30)]
    with Journal(tmp_path / "journal.jsonl") as journal:
        results = run_units(ray_executor, journal, units, SilentReporter())
        for _ in range(10):
            next(results)
    tally = Tally()
    with Journal(tmp_path / "journal.jsonl") as journal:
        resumed = list(run_units(ray_executor, journal, units, SilentReporter(), tally=tally))
    assert tally.recalled >= 10
    assert tally.ran + tally.recalled == 30
    for number, arrays in enumerate(resumed):
        np.testing.assert_array_equal(arrays["square"], [number**2])


def test_no_units_give_nothing() -> None:
    assert values(run_units(LocalExecutor(WorkerSettings()), None, [], SilentReporter())) == []


def test_procedures_wait_for_no_others_batches(tmp_path: Path) -> None:
    seen: list[tuple[int, list[int]]] = []
    ran = tmp_path / "ran"

    def step(number: int, results: list[Arrays] | None) -> list[Square]:
        if results is None:
            return [Square(1, ran), Square(2, ran)] if number == 1 else [Square(3 + number, ran)]
        seen.append((number, [int(arrays["square"][0]) for arrays in results]))
        return [Square(10, ran)] if len([n for n, _ in seen if n == number]) <= number else []

    every = [(0, [9]), (1, [1, 4]), (1, [100]), (2, [25]), (2, [100]), (2, [100])]
    with Journal(tmp_path / "journal.jsonl") as journal:
        tally = Tally()
        run_batches(LocalExecutor(WorkerSettings()), journal, 3, step, tally)
        assert seen == every
        assert tally == Tally(ran=5, recalled=2)
        seen.clear()
        run_batches(LocalExecutor(WorkerSettings()), journal, 3, step, tally)
        assert seen == every
        assert tally == Tally(ran=5, recalled=9)
    assert ran.read_text().split() == ["3", "1", "2", "10", "5"]


def test_a_failure_ends_all_procedures(tmp_path: Path) -> None:
    begun: list[int] = []

    def step(number: int, results: list[Arrays] | None) -> list[Square]:
        del results
        begun.append(number)
        return [Refuse(1) if number else Square(0)] if len(begun) < 2 or number else []

    with Journal(tmp_path / "journal.jsonl") as journal, pytest.raises(DataError):
        run_batches(LocalExecutor(WorkerSettings()), journal, 3, step, Tally())
    assert begun == [0, 0, 1]
