"""Time as work makes it pass: a clock that units wind."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from distq.engine.executor import More, Unit, no_more
from distq.engine.local import LocalExecutor
from distq.replica.worker import Arrays, WorkerSettings


class Clock:
    """A clock that only work winds: every unit takes a second."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


class Winding(LocalExecutor):
    """Winds a clock with each unit."""

    def __init__(self, clock: Clock) -> None:
        super().__init__(WorkerSettings())
        self._clock = clock

    def run(self, units: Sequence[Unit], more: More = no_more) -> Iterator[tuple[int, Arrays]]:
        for found in super().run(units, more):
            self._clock.now += 1
            yield found
