"""What runs a work unit: the interface the jobs see.

A work unit is a pure function of what it carries. It may run twice, anywhere, in any order; the driver
merges results once, in unit order.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from types import TracebackType
from typing import Protocol, Self

from distq.replica.worker import Arrays, Blob, Worker

LOOK_AHEAD = 8
"""Units per worker that an executor starts, at most, beyond the first unfinished one.

Who puts results into unit order holds no more than that, however many units there are.
"""


class Unit(Protocol):
    """One piece of work; implementations are frozen dataclasses that travel to a worker.

    A unit may have an integer attribute ``affinity``: units of one number profit from what a worker keeps
    between them, and an executor gives them to the same one while it can. Where an attribute ``transient`` is
    true the journal does not keep the result: it is large, and another unit's that is made of it is kept.
    """

    @property
    def key(self) -> str:
        """SHA-256 of everything the result depends on; the journal knows the unit by it."""

    @property
    def label(self) -> str:
        """What it is, for a person: ``calibrate, samples 16-23``."""

    def run(self, worker: Worker) -> Arrays:
        """Do the work on a worker."""


class Done:
    """Stands for a unit that is finished in a list that grows: what the unit carried may be large."""

    key = label = ""

    def run(self, worker: Worker) -> Arrays:
        """Nothing."""
        del worker
        return {}


More = Callable[[], bool]
"""Appends further units to the list that is run; false where there are none for now."""


def no_more() -> bool:
    """All units are there."""
    return False


class Executor(Protocol):
    """Runs units on workers: in this process, or as Ray actors."""

    @property
    def workers(self) -> int:
        """How many units run at the same time."""

    @property
    def device(self) -> str:
        """What all workers compute on: ``cpu``, ``cuda`` or ``cuda:n``; never ``auto``."""

    def share(self, data: bytes) -> Blob:
        """Give bytes (a model) to all workers; units carry the returned handle."""

    def run(self, units: Sequence[Unit], more: More = no_more) -> Iterator[tuple[int, Arrays]]:
        """Run units and yield (position, result) as each finishes.

        Args:
            units: a list may grow while a result is taken, and what is finished may be replaced there.
            more: asked where a worker has room.

        Raises:
            ExecutionError: a unit's worker was lost too often (the other units were finished first), or the
                unit raised what distq does not raise on purpose.
            DistqError: what a unit itself raised, unchanged; such a unit is not tried again, the units before
                it were finished, and of several failures the first in unit order is raised.
        """

    def doing(self) -> Sequence[tuple[str, str]]:
        """Who each worker is, and the label of the unit it is at; empty where it waits.

        It may be asked from any thread.
        """

    def peak_rss_mb(self) -> tuple[float, ...]:
        """The most memory that each process of a worker beside this process has had so far, in MiB."""

    def forget(self) -> None:
        """Free what was shared: a job is over, and no unit that carries it runs again."""

    def close(self) -> None:
        """Stop the workers."""

    def __enter__(self) -> Self: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...


class Pool(Executor, Protocol):
    """An executor that owns its workers, and can have several jobs run on them at the same time."""

    def split(self, parts: int, stopping: threading.Event) -> Sequence[Pool]:
        """The workers dealt out to executors of their own, each for one thread; this one only closes them.

        Args:
            parts: how many, at most one per worker.
            stopping: once set, what runs on any of them ends with InterruptedRun within about a second.
        """

    def hand_over(self, to: Self) -> None:
        """Give the workers of a part that has nothing left to do to another, also while that one runs."""
