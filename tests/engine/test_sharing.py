"""Workers lent to one job after the other, and results that all of them may use."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from engine_units import Slow, Square

from distq.engine.executor import LOOK_AHEAD
from distq.engine.journal import Journal
from distq.engine.local import LocalExecutor
from distq.engine.progress import SilentReporter
from distq.engine.run import Tally, run_batches, run_units
from distq.engine.sharing import SharingExecutor
from distq.replica.worker import Arrays, WorkerSettings


@pytest.fixture
def journal(tmp_path: Path) -> Iterator[Journal]:
    with Journal(tmp_path / "journal.jsonl") as journal:
        yield journal


@pytest.fixture
def seen(tmp_path: Path) -> Path:
    path = tmp_path / "seen"
    path.touch()
    return path


def lend(journal: Journal, scope: str = "a", kinds: tuple[type, ...] = (Square,)) -> SharingExecutor:
    return SharingExecutor(LocalExecutor(WorkerSettings()), journal, scope, kinds)


def squares(executor: SharingExecutor, units: list[Square]) -> list[int]:
    results = run_units(executor, None, units, SilentReporter())
    return [int(arrays["square"][0]) for arrays in results]


def ran(seen: Path) -> list[int]:
    return [int(line) for line in seen.read_text().split()]


def test_a_later_job_takes_what_an_earlier_one_computed(journal: Journal, seen: Path) -> None:
    units = [Square(number, seen) for number in range(5)]
    assert squares(lend(journal), units) == squares(lend(journal), units) == [0, 1, 4, 9, 16]
    assert ran(seen) == [0, 1, 2, 3, 4]


def test_it_takes_exactly_the_arrays(journal: Journal) -> None:
    [(_, first)] = lend(journal).run([Square(3)])
    [(_, second)] = lend(journal).run([Square(3)])
    assert first.keys() == second.keys() == {"square"}
    assert second["square"].dtype == first["square"].dtype


def test_another_scope_computes_its_own(journal: Journal, seen: Path) -> None:
    squares(lend(journal, "a"), [Square(2, seen)])
    squares(lend(journal, "b"), [Square(2, seen)])
    assert ran(seen) == [2, 2]


def test_other_kinds_are_not_kept(journal: Journal, seen: Path) -> None:
    for _ in range(2):
        squares(lend(journal, kinds=(Slow,)), [Square(2, seen)])
    assert ran(seen) == [2, 2]


@pytest.mark.parametrize("known", [range(60), range(30, 60), range(0, 60, 2), (59,), ()])
def test_known_and_new_results_keep_unit_order(journal: Journal, seen: Path, known: range) -> None:
    squares(lend(journal), [Square(number) for number in known])
    units = [Square(number, seen) for number in range(60)]
    assert len(units) > LOOK_AHEAD
    assert squares(lend(journal), units) == [number**2 for number in range(60)]
    assert ran(seen) == [number for number in range(60) if number not in known]


def test_what_was_saved_is_what_it_took(journal: Journal) -> None:
    first, second = lend(journal), lend(journal)
    squares(first, [Slow(2, seconds=0.05)])
    assert first.saved_seconds == 0
    squares(second, [Slow(2, seconds=0.05)])
    assert second.saved_seconds >= 0.05


def test_units_of_procedures_are_shared_too(journal: Journal, seen: Path) -> None:
    found: list[int] = []

    def step(number: int, results: list[Arrays] | None) -> list[Square]:
        if results is None:
            return [Square(5 * number, seen)]
        found.extend(int(arrays["square"][0]) for arrays in results)
        return [Square(5 * number + 1, seen)] if len(found) % 2 else []

    for _ in range(2):
        found.clear()
        run_batches(lend(journal), None, 3, step, Tally())
        assert found == [0, 1, 25, 36, 100, 121]
    assert ran(seen) == [0, 1, 5, 6, 10, 11]
