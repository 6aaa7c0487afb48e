"""What every executor promises: one suite that all of them pass."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
from engine_units import Big, Fault, Fetch, Kept, Product, Refuse, Square, Unsendable

from distq.engine.executor import Executor
from distq.engine.local import LocalExecutor
from distq.engine.ray_pool import RayExecutor
from distq.errors import DataError, ExecutionError
from distq.replica.worker import WorkerSettings


@pytest.fixture(scope="module", params=["local", "ray"])
def executor(request: pytest.FixtureRequest) -> Iterator[Executor]:
    if request.param == "local":
        with LocalExecutor(WorkerSettings()) as local:
            yield local
    else:
        request.getfixturevalue("ray_session")
        with RayExecutor(2, WorkerSettings()) as ray:
            yield ray


def squares(executor: Executor, units: list[Square]) -> dict[int, int]:
    return {position: int(arrays["square"][0]) for position, arrays in executor.run(units)}


def note_positions(executor: Executor, units: list[Square], seen: list[int]) -> None:
    seen.extend(position for position, _ in executor.run(units))


class TestEveryExecutor:
    def test_gives_every_result_once_with_its_position(self, executor: Executor) -> None:
        results = [
            (position, int(arrays["square"][0]))
            for position, arrays in executor.run([Square(number) for number in range(40)])
        ]
        assert sorted(results) == [(number, number**2) for number in range(40)]

    def test_no_units_give_no_results(self, executor: Executor) -> None:
        assert list(executor.run([])) == []

    def test_has_workers(self, executor: Executor) -> None:
        assert executor.workers >= 1

    def test_it_tells_what_each_worker_is_at(self, executor: Executor) -> None:
        units, seen = [Square(number) for number in range(12)], set[str]()
        for _ in executor.run(units):
            seen |= {label for _, label in executor.doing()}
        assert seen <= {*(unit.label for unit in units), ""}
        found = list(executor.doing())
        assert len(found) == executor.workers
        assert all(where and not label for where, label in found)

    def test_a_workers_memory_lasts_from_unit_to_unit(self, executor: Executor) -> None:
        counts = [int(arrays["count"]) for _, arrays in executor.run([Kept(0) for _ in range(20)])]
        assert max(counts) >= 20 // executor.workers

    def test_shared_bytes_reach_the_units(self, executor: Executor) -> None:
        data = bytes(range(256)) * 1000
        blob = executor.share(data)
        [(_, arrays)] = executor.run([Fetch(0, blob=blob)])
        assert arrays["bytes"].tobytes() == data
        assert executor.share(data).sha256 == blob.sha256
        assert executor.share(b"other").sha256 != blob.sha256

    def test_bytes_can_be_shared_again_when_they_were_forgotten(self, executor: Executor) -> None:
        for _ in range(2):
            blob = executor.share(b"model")
            [(_, arrays)] = executor.run([Fetch(0, blob=blob)])
            assert arrays["bytes"].tobytes() == b"model"
            executor.forget()

    def test_a_large_result_belongs_to_the_caller(self, executor: Executor) -> None:
        [(_, arrays)] = executor.run([Big(3)])
        arrays["x"] += 1
        assert (arrays["x"] == 4).all()

    def test_an_error_of_distq_arrives_unchanged(self, executor: Executor) -> None:
        with pytest.raises(DataError, match=r"^photo1.jpg: truncated; remove it or use --skip-bad 1$"):
            squares(executor, [Square(0), Refuse(1), Square(2)])

    def test_the_units_before_a_failed_one_are_finished(self, executor: Executor) -> None:
        seen: list[int] = []
        with pytest.raises(DataError):
            note_positions(executor, [*map(Square, range(9)), Refuse(9)], seen)
        assert sorted(seen) == list(range(9))

    def test_of_two_failures_the_first_is_told(self, executor: Executor) -> None:
        units = [*map(Square, range(3)), Refuse(3), Refuse(4), *map(Square, range(5, 9))]
        with pytest.raises(DataError, match="photo3"):
            squares(executor, units)

    @pytest.mark.parametrize("error", [ZeroDivisionError, SystemExit])
    def test_any_other_exception_names_the_unit_and_what_it_was(
        self, executor: Executor, error: type[BaseException]
    ) -> None:
        with pytest.raises(ExecutionError, match=rf"^square of 7: {error.__name__}: at line 7 ") as caught:
            squares(executor, [Fault(7, error=error)])
        assert caught.value.exit_code == 3
        assert "engine_units.py" in "".join(caught.value.__notes__)

    def test_an_exception_that_cannot_travel_is_told_too(self, executor: Executor) -> None:
        with pytest.raises(ExecutionError, match="square of 5: LocalError: strange"):
            squares(executor, [Unsendable(5)])

    def test_works_on_after_a_failed_run(self, executor: Executor) -> None:
        with pytest.raises(ExecutionError):
            squares(executor, [Fault(0), *map(Square, range(1, 9))])
        assert squares(executor, [Square(3)]) == {0: 9}

    def test_works_on_after_a_run_left_early(self, executor: Executor) -> None:
        left = executor.run([Square(number) for number in range(50)])
        next(left)
        assert squares(executor, [Square(3), Square(4)]) == {0: 9, 1: 16}

    def test_linear_algebra_gives_the_bits_of_one_thread(self, executor: Executor) -> None:
        with LocalExecutor(WorkerSettings()) as local:
            [(_, wanted)] = local.run([Product(1)])
        [(_, got)] = executor.run([Product(1)])
        assert got["threads"] == 1
        np.testing.assert_array_equal(got["product"], wanted["product"])
        np.testing.assert_array_equal(got["solution"], wanted["solution"])
