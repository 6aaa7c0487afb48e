"""The executor on Ray: one actor per worker, and a driver that requeues what is lost."""

from __future__ import annotations

import itertools
import threading
import time
from collections.abc import Callable, Generator, Iterator, Sequence
from copy import copy
from dataclasses import replace
from typing import Any, Self

from distq.engine.closing import Closing
from distq.engine.executor import More, Unit, no_more
from distq.engine.placement import described, plan
from distq.engine.ray_actor import BESIDE, UnitActor, automatic_device
from distq.engine.ray_cluster import RayCluster
from distq.engine.ray_round import Round
from distq.engine.ray_seat import Seat
from distq.engine.stalls import Stalls
from distq.errors import ExecutionError, InterruptedRun
from distq.graph import weight_files
from distq.replica.worker import Arrays, Blob, WorkerSettings

_LOOK_SECONDS = 5.0  # between looks for new nodes
_ANSWER_SECONDS = 5.0


def _no_event(text: str) -> None:
    del text


def _no_run() -> Generator[tuple[int, Arrays]]:
    yield from ()


class RayExecutor(Closing):
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
        cpus: int | None = None,
        gpus: float | None = None,
        retries: int = 3,
        unit_timeout: float | None = None,
        on_event: Callable[[str], None] = _no_event,
        start_seconds: float = 120.0,
        wait_seconds: float = 0.0,
    ) -> None:
        """Connect to Ray, or start it, and open the actors; they start while the driver goes on.

        Args:
            workers: how many actors; None: one per core of the cluster, on ``cuda`` one per GPU, and more
                when nodes join.
            settings: of every worker.
            address: of a cluster; None: this process's Ray, or RAY_ADDRESS, or a new one on this machine.
            cpus: that each actor books; None: as many as the settings keep busy. Actors that decode beside it
                come on top.
            gpus: the part of a GPU that each actor books on ``cuda``, and may fill; None: so that all fit.
            retries: how often a unit runs again after the worker that ran it was lost.
            unit_timeout: seconds after which a worker that has not answered is taken for lost; None: never.
            on_event: takes one line for each lost worker.
            start_seconds: how long the cluster may take to start an actor.
            wait_seconds: with it, more workers than there is room for now are fine: a cluster that scales
                itself adds nodes for them, and may take so long until the first answers.

        Raises:
            UsageError: there is no such cluster, or it has fewer CPUs or GPUs than asked for.
            ExecutionError: Ray does not start on this machine.
        """
        likely = settings.on(settings.device)
        wanted = (cpus or likely.cpus) + likely.decode_actors
        self._cluster = RayCluster(address, (workers or 1) * wanted, on_event)
        self._ray: Any = self._cluster.ray
        self._retries = retries
        self._unit_timeout = unit_timeout
        self._stalls = Stalls()
        self._on_event = on_event
        self._start_seconds = max(start_seconds, wait_seconds)
        self._blobs: dict[str, Blob] = {}
        self._weights: dict[str, Any] = {}
        self._seats: list[Seat] = []
        self._last_run: Generator[tuple[int, Arrays]] = _no_run()
        self._parts: list[Self] = []
        self._stopping = threading.Event()
        try:
            nodes = self._cluster.nodes()
            self.device = self._resolved(settings.device, gpus=any(node.gpus for node in nodes))
            self._processors: dict[str, str] | None = {} if self.device == "cpu" else None
            own = settings.on(self.device)
            placed = plan(
                workers,
                self.device,
                cpus or own.cpus,
                gpus,
                nodes,
                decoders=own.decode_actors,
                may_grow=wait_seconds > 0,
            )
            self._booking = placed.booking
            on_one = max((placed.booking.fit_on(node) for node in nodes), default=1)
            self._settings = replace(
                own, gpu_part=placed.booking.gpus or gpus or 1.0, sharing=max(1, min(placed.workers, on_one))
            )
            self._room = None if workers is not None else placed.workers
            self._look_again = time.monotonic() + _LOOK_SECONDS
            self._open_seats(placed.workers)
        except BaseException:
            self.close()
            raise

    @property
    def workers(self) -> int:
        """How many units run at the same time."""
        return len(self._seats)

    def share(self, data: bytes) -> Blob:
        """Put bytes into Ray's object store, once however often they are shared."""
        sha256 = weight_files.content_key(data)
        if sha256 not in self._blobs:
            files = weight_files.locations(data) if self._cluster.spans_machines else ()
            for location in files:
                if location not in self._weights:
                    self._weights[location] = self._ray.put(weight_files.place_of(location).read_bytes())
            weights = {location: self._weights[location] for location in files}
            self._blobs[sha256] = Blob(sha256, self._ray.put(data), weights)
        return self._blobs[sha256]

    def run(self, units: Sequence[Unit], more: More = no_more) -> Iterator[tuple[int, Arrays]]:
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
            more,
            retries=self._retries,
            unit_timeout=self._unit_timeout,
            stalls=self._stalls,
            start_seconds=self._start_seconds,
            on_event=self._on_event,
            processors=self._processors,
            attend=self._attend,
        ).results()
        return self._last_run

    def _open_seats(self, count: int) -> None:
        self._seats.extend(Seat(self._ray, self._open_actor) for _ in range(count))

    def _open_actor(self) -> tuple[Any, Any]:
        """An actor; with decode actors in a placement group, else they might find no CPU on its node."""
        booked, group, strategy = self._booking, None, None
        if booked.decoders:
            group = self._ray.util.placement_group([booked.bundle])
            strategy = self._ray.util.scheduling_strategies.PlacementGroupSchedulingStrategy(
                group, placement_group_capture_child_tasks=True
            )
        actor = self._ray.remote(concurrency_groups={BESIDE: 1})(UnitActor).options(
            num_cpus=booked.cpus,
            num_gpus=booked.gpus,
            max_restarts=0,
            max_task_retries=0,
            scheduling_strategy=strategy,
        )
        return actor.remote(self._settings), group

    def split(self, parts: int, stopping: threading.Event) -> list[Self]:
        """The workers dealt out to executors of their own, each for one thread; the first gets what joins.

        Args:
            parts: how many, at most one per worker.
            stopping: once set, what runs on any of them ends with InterruptedRun within about a second.
        """
        self._parts = [copy(self) for _ in range(parts)]
        for number, part in enumerate(self._parts):
            part._seats = self._seats[number::parts]
            part._blobs, part._weights = {}, {}
            part._parts, part._last_run, part._stopping = [], _no_run(), stopping
            part._room = None if number else self._room
            part._stalls = Stalls()
        return self._parts

    def hand_over(self, to: Self) -> None:
        """Give the workers of a part that has nothing left to do to another, also while that one runs."""
        seats, self._seats = self._seats, []
        for seat in seats:
            seat.open()
        if self._room is not None:
            to._room, self._room = self._room, None
        to._seats.extend(seats)

    def _attend(self) -> None:
        """Between units: end when told to, and use the nodes that joined unless workers were counted out.

        Raises:
            InterruptedRun: told to.
        """
        if self._stopping.is_set():
            raise InterruptedRun("interrupted")
        if self._room is None or time.monotonic() < self._look_again:
            return
        self._look_again = time.monotonic() + _LOOK_SECONDS
        more = self._booking.room(self._cluster.nodes()) - self._room
        if more > 0:
            self._room += more
            self._open_seats(more)
            self._on_event(f"the Ray cluster has grown: {more} more workers, {len(self._seats)} in all")

    def _resolved(self, device: str, *, gpus: bool) -> str:
        """What ``auto`` is, for all workers alike: on a GPU and on a processor they would give other bits.

        Raises:
            ExecutionError: the cluster does not say.
        """
        if device != "auto":
            return device
        if not gpus:
            return "cpu"
        probe = self._ray.remote(automatic_device).options(num_cpus=0, num_gpus=0.01)
        try:
            return str(self._ray.get(probe.remote(), timeout=self._start_seconds))
        except self._ray.exceptions.RayError as error:
            raise ExecutionError(
                f"--device auto: no node with a GPU answered within {self._start_seconds:g} s; the Ray "
                f"cluster has {described(self._cluster.nodes())}: take --device cpu or cuda"
            ) from error

    def doing(self) -> Sequence[tuple[str, str]]:
        """Each worker's host and process, and the unit it is at."""
        return [(seat.where or "starting", seat.label) for seat in list(self._seats)]

    def peak_rss_mb(self) -> tuple[float, ...]:
        """The most memory that each worker has had so far; of those that answer."""
        asked = [reference for seat in self._seats if (reference := seat.ask_memory()) is not None]
        try:
            return tuple(self._ray.get(asked, timeout=_ANSWER_SECONDS))
        except (self._ray.exceptions.RayError, ExecutionError):
            return ()

    def forget(self) -> None:
        """Let Ray free what was shared as soon as no unit carries it."""
        self._blobs.clear()
        self._weights.clear()

    def close(self) -> None:
        """End the actors at once, then a Ray that was started for them."""
        for seat in itertools.chain(self._seats, *(part._seats for part in self._parts)):
            seat.leave()
        self._seats.clear()
        self.forget()
        self._cluster.close()
