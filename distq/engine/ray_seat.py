"""A place for one worker in the pool: the actor that sits there now, and the units it has been given."""

from __future__ import annotations

import contextlib
import time
from collections import deque
from collections.abc import Callable, Iterable
from typing import Any, Self

from distq.engine.executor import Unit
from distq.engine.ray_actor import BESIDE
from distq.memory import system_kills

_ANSWER_SECONDS = 3.0
_LOOK_SECONDS = 5.0  # until a process of Ray's has looked at a node


class Seat:
    """One actor at a time; it is replaced when its process or node is lost.

    The actor runs its units in the order given, so only the first of ``in_flight`` can be running.
    """

    def __init__(self, ray: Any, create: Callable[[], tuple[Any, Any]]) -> None:  # noqa: ANN401  # Ray's module and handles
        """Open an actor.

        Args:
            ray: the module.
            create: gives an actor, and the placement group that holds it and its decode actors, or None.
        """
        self.in_flight: deque[tuple[int, Any]] = deque()
        self._labels: deque[str] = deque()
        self.failed_starts = 0
        self.where: str | None = None
        self.processor = self.node = ""
        self._kills = 0
        self._ray = ray
        self._create = create
        self._actor: Any = None
        self._group: Any = None
        self._greeting: Any = None
        self._since = self._busy_since = 0.0
        self.open()

    @property
    def ready(self) -> bool:
        """Whether the actor has answered and can be given units."""
        return self.where is not None

    @property
    def awaited(self) -> Any | None:  # noqa: ANN401  # a Ray object reference
        """The reference that is resolved next: the greeting, then the first unit."""
        if not self.ready:
            return self._greeting
        return self.in_flight[0][1] if self.in_flight else None

    @property
    def label(self) -> str:
        """Of the first of its units; empty where there is none. It may be asked from any thread."""
        with contextlib.suppress(IndexError):
            return self._labels[0]
        return ""

    @property
    def seconds_busy(self) -> float:
        """How long the first of its units has been the actor's; 0 where there is none."""
        return time.monotonic() - self._busy_since if self.ready and self.in_flight else 0.0

    @property
    def seconds_waiting(self) -> float:
        """How long the actor has been starting; 0 when it is ready."""
        return 0.0 if self.ready else time.monotonic() - self._since

    def open(self) -> None:
        """Have an actor here: nothing happens where there is one."""
        if self._actor is None:
            self._actor, self._group = self._ray.start_actor(self._create)
            self._greeting = self._actor.hello.remote()
            self._since = time.monotonic()

    def greet(self) -> None:
        """Take the actor's answer.

        Raises:
            RayError: it did not start.
        """
        self.where, self.node, self.processor, self._kills = self._ray.get(self._greeting)
        self.failed_starts = 0

    def give(self, position: int, unit: Unit) -> None:
        """Send a unit."""
        if not self.in_flight:
            self._busy_since = time.monotonic()
        self.in_flight.append((position, self._actor.run.remote(unit)))
        self._labels.append(unit.label)

    def take(self) -> None:
        """The first unit is done; the actor is at the next."""
        self.in_flight.popleft()
        self._labels.popleft()
        self._busy_since = time.monotonic()

    def at(self) -> tuple[bool, tuple[str, float] | None]:
        """Whether the process answers beside its unit, and what it has been at for how long."""
        asked = self._actor.at.options(concurrency_group=BESIDE).remote()
        try:
            answer: tuple[str, float] | None = self._ray.get(asked, timeout=_ANSWER_SECONDS)
        except self._ray.exceptions.RayError:
            return False, None
        return True, answer

    def killed_for_memory(self, others: Iterable[Self]) -> bool:
        """Whether the system of its node has killed a process for memory since the actor started there.

        Args:
            others: who of them is on the same node is asked; where nobody is, a new process looks.
        """
        beside = next((seat for seat in others if seat.ready and seat.node == self.node), None)
        try:
            kills = self._look() if beside is None else beside._kills_now()
        except self._ray.exceptions.RayError:  # its node is as good as gone
            return False
        return kills > self._kills

    def _kills_now(self) -> int:
        asked = self._actor.kills.options(concurrency_group=BESIDE).remote()
        return int(self._ray.get(asked, timeout=_ANSWER_SECONDS))

    def _look(self) -> int:
        there = self._ray.util.scheduling_strategies.NodeAffinitySchedulingStrategy(self.node, soft=False)
        look = self._ray.remote(system_kills).options(num_cpus=0, max_retries=0, scheduling_strategy=there)
        return int(self._ray.get(self._ray.start_actor(look.remote), timeout=_LOOK_SECONDS))

    def ask_memory(self) -> Any | None:  # noqa: ANN401  # a Ray object reference
        """A reference to the most memory that the actor has had; None where there is none that is ready."""
        if not self.ready:
            return None
        return self._actor.memory.options(concurrency_group=BESIDE).remote()

    def leave(self) -> list[int]:
        """End the actor at once; the positions it had not finished are returned."""
        unfinished = [position for position, _ in self.in_flight]
        self.in_flight.clear()
        self._labels.clear()
        self.where = None
        if self._actor is not None:
            with contextlib.suppress(Exception):  # Ray may be gone before us
                self._ray.end_actor(self._actor)
        if self._group is not None:
            with contextlib.suppress(Exception):  # also where the actor could not be ended
                self._ray.end_group(self._group)
        self._actor = self._group = self._greeting = None
        return unfinished
