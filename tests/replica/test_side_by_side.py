"""Samples on threads of their own."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest

from distq.replica.side_by_side import side_by_side
from distq.replica.worker import Worker, WorkerSettings


def worker(together: int) -> Worker:
    return Worker(WorkerSettings(together=together), fetch=lambda blob: blob.handle)


@pytest.mark.parametrize("together", [1, 3])
def test_results_come_in_the_order_of_the_items(together: int) -> None:
    assert list(side_by_side(worker(together), lambda n: n * n, range(20))) == [n * n for n in range(20)]


def test_items_are_worked_on_at_the_same_time() -> None:
    meeting = threading.Barrier(3, timeout=60)  # broken, and an error, where they come one by one
    assert len(list(side_by_side(worker(3), lambda _: meeting.wait(), range(3)))) == 3


@pytest.mark.parametrize("together", [1, 3])
def test_an_error_comes_in_the_place_of_its_result(together: int) -> None:
    def refuse(number: int) -> int:
        if number == 2:
            raise ValueError("two")
        return number

    found = side_by_side(worker(together), refuse, range(20))
    assert [next(found), next(found)] == [0, 1]
    with pytest.raises(ValueError, match="two"):
        next(found)


@pytest.mark.parametrize("together", [1, 3])
def test_items_are_taken_by_the_callers_thread_and_few_ahead(together: int) -> None:
    taken: list[int] = []

    def items() -> Iterator[int]:
        for number in range(100):
            taken.append(threading.get_ident())
            yield number

    found = side_by_side(worker(together), lambda n: n, items())
    next(found)
    assert len(taken) <= together + 1
    assert set(taken) == {threading.get_ident()}
