"""The executor on Ray: one actor per worker, and a driver that requeues what is lost."""

from __future__ import annotations

import math
from collections.abc import Callable, Generator, Iterator, Sequence
from types import TracebackType
from typing import Any, Self

from distq.engine.executor import Unit
from distq.engine.ray_actor import UnitActor
from distq.engine.ray_cluster import RayCluster, Resources
from distq.engine.ray_round import Round
from distq.engine.ray_seat import Seat
from distq.errors import UsageError
from distq.files import sha256_bytes
from distq.replica.worker import Arrays, Blob, WorkerSettings


def _no_event(text: str) -> None:
    del text


def _no_run() -> Generator[tuple[int, Arrays]]:
    yield from ()


class RayExecutor:
    """Runs units on Ray actors, at most two in flight on each.

    Ray neither restarts an actor nor repeats a unit (``max_restarts=0, max_task_retries=0``): after a loss
    the pool opens a new actor and decides which unit runs again, so that a unit that ends its process is
    named.
    """

    def __init__(
        self,
        workers: int | None,
        settings: WorkerSettings,
        address: str | None = None,
        *,
        retries: int = 3,
        on_event: Callable[[str], None] = _no_event,
        start_seconds: float = 120.0,
    ) -> None:
        """Connect to Ray, or start it, and open the actors; they start while the driver goes on.

        Args:
            workers: how many actors; None: one per core of the cluster, on ``cuda`` one per GPU.
            settings: of every worker; an actor holds ``settings.cpus`` CPUs.
            address: of a cluster; None: this process's Ray, or RAY_ADDRESS, or a new one on this machine.
            retries: how often a unit runs again after the worker that ran it was lost.
            on_event: takes one line for each lost worker.
            start_seconds: how long the cluster may take to start an actor.

        Raises:
            UsageError: there is no such cluster, or it has fewer CPUs or GPUs than asked for.
            ExecutionError: Ray does not start on this machine.
        """
        self._cluster = RayCluster(address, (workers or 0) * settings.cpus)
        self._ray: Any = self._cluster.ray
        self._settings = settings
        self._retries = retries
        self._on_event = on_event
        self._start_seconds = start_seconds
        self._blobs: dict[str, Blob] = {}
        self._processors: dict[str, str] | None = None if settings.device.startswith("cuda") else {}
        self._seats: list[Seat] = []
        self._last_run: Generator[tuple[int, Arrays]] = _no_run()
        try:
            there = self._cluster.resources()
            count = plan_workers(workers, settings, there)
            actor = self._ray.remote(UnitActor).options(
                num_cpus=settings.cpus,
                num_gpus=gpu_share(count, settings.device, there),
                max_restarts=0,
                max_task_retries=0,
            )
            for _ in range(count):
                self._seats.append(Seat(self._ray, lambda: actor.remote(settings)))
        except BaseException:
            self.close()
            raise

    @property
    def workers(self) -> int:
        """How many units run at the same time."""
        return len(self._seats)

    def share(self, data: bytes) -> Blob:
        """Put bytes into Ray's object store, once however often they are shared."""
        sha256 = sha256_bytes(data)
        if sha256 not in self._blobs:
            self._blobs[sha256] = Blob(sha256, self._ray.put(data))
        return self._blobs[sha256]

    def run(self, units: Sequence[Unit]) -> Iterator[tuple[int, Arrays]]:
        """Run units and yield (position, result) as each finishes.

        A unit is only started while fewer than 8 per worker lie between it and the first unfinished one, so
        whoever puts results into order never holds more than that. One run at a time; a run left early ends
        its actors' work, and the next run opens new ones.

        Raises:
            ExecutionError: a unit's worker was lost more than ``retries`` times (the others were finished
                first), or it raised what distq does not raise on purpose, or the cluster starts no worker, or
                workers on processors with different integer instructions.
            DistqError: what a unit raised, unchanged, as soon as all units before it are finished.
        """
        self._last_run.close()  # whoever left it early may still hold it
        self._last_run = Round(
            self._cluster,
            self._seats,
            units,
            retries=self._retries,
            start_seconds=self._start_seconds,
            on_event=self._on_event,
            processors=self._processors,
        ).results()
        return self._last_run

    def forget(self) -> None:
        """Let Ray free what was shared as soon as no unit carries it."""
        self._blobs.clear()

    def close(self) -> None:
        """End the actors at once, then a Ray that was started for them."""
        for seat in self._seats:
            seat.leave()
        self._seats.clear()
        self._blobs.clear()
        self._cluster.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def plan_workers(workers: int | None, settings: WorkerSettings, there: Resources) -> int:
    """How many workers a cluster is asked for.

    Raises:
        UsageError: it does not have what they need.
    """
    if settings.device.startswith("cuda") and there.gpus < 1:
        raise UsageError(f"--device {settings.device}: the Ray cluster has {there}; use --device cpu")
    most = int(there.cpus // settings.cpus)
    if most == 0 or (workers or 0) > most:
        asked = f"--workers {workers}" if workers else "a worker"
        raise UsageError(
            f"{asked} of {settings.cpus} CPU each: the Ray cluster has {there}; "
            f"ask for at most {most} workers"
        )
    if workers is not None:
        return workers
    return min(most, int(there.gpus)) if settings.device.startswith("cuda") else most


def gpu_share(workers: int, device: str, there: Resources) -> float:
    """The part of a GPU that each worker books, so that all of them fit.

    Ray shows an actor only the GPUs it booked. ``cuda:n`` counts the machine's GPUs itself, so it books none.
    """
    if there.gpus < 1 or device not in {"cuda", "auto"}:
        return 0.0
    return 1 / math.ceil(workers / there.gpus)
