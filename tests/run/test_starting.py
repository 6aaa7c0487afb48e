"""Workers that start beside the driver are closed where nobody takes them."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from distq.config import CommonOptions
from distq.engine.executor import Pool
from distq.engine.local import LocalExecutor
from distq.errors import UsageError
from distq.replica.worker import WorkerSettings
from distq.run.starting import Starting

RAY, LOCAL = CommonOptions(executor="ray"), CommonOptions(executor="local")


class Watched(LocalExecutor):
    """Says when it is closed."""

    def __init__(self) -> None:
        super().__init__(WorkerSettings("cpu"))
        self.closed = threading.Event()
        self.opened_in = threading.current_thread()

    def close(self) -> None:
        self.closed.set()
        super().close()


@pytest.fixture(autouse=True)
def no_cluster(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("RAY_ADDRESS", raising=False)


def opening(pool: Callable[[], Pool]) -> Callable[[Callable[[str], None]], Pool]:
    return lambda _: pool()


def left_by(error: BaseException, pool: Callable[[], Pool]) -> None:
    """Have workers started that an error keeps from being taken."""
    with Starting(RAY, opening(pool), print) as starting:
        starting.begin()
        raise error


def test_who_takes_them_closes_them() -> None:
    with Starting(RAY, opening(Watched), print) as starting:
        starting.begin()
        pool = starting.take()
    assert isinstance(pool, Watched)
    assert pool.opened_in is not threading.current_thread()
    assert not pool.closed.is_set()


def test_a_path_that_is_not_there_is_told_before_they_start(tmp_path: Path) -> None:
    with Starting(RAY, opening(Watched), print) as starting:
        starting.begin(tmp_path / "misspelt.onnx", None)
        pool = starting.take()
        starting.begin(tmp_path, None)
        beside = starting.take()
    assert isinstance(pool, Watched)
    assert pool.opened_in is threading.current_thread()
    assert isinstance(beside, Watched)
    assert beside.opened_in is not threading.current_thread()


def test_they_are_closed_where_the_input_turns_out_to_be_unusable() -> None:
    made: list[Watched] = []

    def make() -> Pool:
        made.append(Watched())
        return made[-1]

    with pytest.raises(UsageError):
        left_by(UsageError("no such thing"), make)
    assert [pool.closed.is_set() for pool in made] == [True]


def test_ctrl_c_does_not_wait_and_they_are_closed_when_they_arrive() -> None:
    ready, pool = threading.Event(), Watched()

    def make() -> Pool:
        ready.wait(20)
        return pool

    with pytest.raises(KeyboardInterrupt):
        left_by(KeyboardInterrupt(), make)
    assert not pool.closed.is_set()
    ready.set()
    assert pool.closed.wait(20)


def test_what_prevents_them_is_raised_where_they_are_taken() -> None:
    def make() -> Pool:
        raise UsageError("no room")

    with Starting(RAY, opening(make), print) as starting:
        starting.begin()
        with pytest.raises(UsageError, match="no room"):
            starting.take()


@pytest.mark.parametrize("options", [LOCAL, RAY.model_copy(update={"address": "somewhere:6379"})])
def test_this_process_and_a_cluster_elsewhere_are_opened_when_they_are_taken(options: CommonOptions) -> None:
    with Starting(options, opening(Watched), print) as starting:
        starting.begin()
        pool = starting.take()
    assert isinstance(pool, Watched)
    assert pool.opened_in is threading.current_thread()


def test_lost_workers_are_told_to_who_listens_then() -> None:
    told: list[str] = []
    tellers: list[Callable[[str], None]] = []

    def make(tell: Callable[[str], None]) -> Pool:
        tellers.append(tell)
        return Watched()

    with Starting(RAY, make, print) as starting:
        starting.begin()
        starting.tell = told.append
        starting.take()
    tellers[0]("lost a worker")
    assert told == ["lost a worker"]
