"""The executor without Ray: one worker in this process, units one after the other."""

from __future__ import annotations

import math
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from typing import Self

from distq.activity import longest
from distq.engine.attempt import attempt, too_slow
from distq.engine.calls import Caller
from distq.engine.closing import Closing
from distq.engine.executor import More, Unit, no_more
from distq.engine.stalls import Stalls, stalled
from distq.errors import DistqError
from distq.graph.weight_files import content_key
from distq.replica.session import device_of
from distq.replica.worker import Arrays, Blob, Worker, WorkerSettings

_LOOK_SECONDS = 1.0


class LocalExecutor(Closing):
    """Runs every unit in this process; a model's bytes are their own handle."""

    def __init__(
        self,
        settings: WorkerSettings,
        *,
        retries: int = 3,
        unit_timeout: float | None = None,
        on_event: Callable[[str], None] = print,
    ) -> None:
        """Take the device of the settings.

        Args:
            settings: of the worker.
            retries: how often a unit runs again that took too long.
            unit_timeout: seconds after which it has; None: it may take as long as it does.
            on_event: takes one line about a unit that does not end.

        Raises:
            UsageError: it is a GPU, and there is none that ONNX Runtime can use.
        """
        self.device = device_of(settings)
        if self.device != "cpu":  # a GPU has its threads itself
            settings = replace(settings, together=1)
        self._worker = Worker(settings, fetch=_fetch)
        self._retries = retries
        self._unit_timeout = math.inf if unit_timeout is None else unit_timeout
        self._on_event = on_event
        self._caller = Caller()
        self._stalls = Stalls()
        self._now = ""

    @property
    def workers(self) -> int:
        """Always 1."""
        return 1

    def share(self, data: bytes) -> Blob:
        """The bytes as a blob."""
        return Blob(content_key(data), data)

    def run(self, units: Sequence[Unit], more: More = no_more) -> Iterator[tuple[int, Arrays]]:
        """Run units in order and yield (position, result) after each.

        Raises:
            ExecutionError: a unit raised what distq does not raise on purpose.
            DistqError: what a unit raised, unchanged.
        """
        position = -1
        while position + 1 < len(units) or more():
            position += 1
            unit = units[position]
            self._now = unit.label
            try:
                outcome = self._run(unit)
            finally:
                self._now = ""
            if isinstance(outcome, DistqError):
                raise outcome
            yield position, outcome

    def _run(self, unit: Unit) -> Arrays | DistqError:
        """A unit in a thread beside this one, which can so be interrupted; again when it takes too long."""
        for number in range(self._retries + 1):
            call = self._caller.begin(partial(attempt, unit, self._worker))
            while not call.wait(min(_LOOK_SECONDS, self._unit_timeout)):
                if call.seconds >= self._unit_timeout:
                    break
                if self._stalls.due(call.seconds):
                    self._on_event(stalled("this process", unit.label, call.seconds, longest(), answers=True))
            else:
                self._stalls.finished(call.seconds)
                return call.result()
            self._caller.leave()  # what it does still is for nothing, and its worker is its own
            self._worker = Worker(self._worker.settings, fetch=_fetch)
            again = "given up" if number == self._retries else "again"
            self._on_event(f"no answer within --unit-timeout {self._unit_timeout:g} s; {again}: {unit.label}")
        return too_slow(unit.label, self._unit_timeout, self._retries + 1)

    def doing(self) -> Sequence[tuple[str, str]]:
        """This process, and the unit it is at."""
        return [("this process", self._now)]

    def peak_rss_mb(self) -> tuple[float, ...]:
        """None: there is no process beside this one."""
        return ()

    def forget(self) -> None:
        """Nothing: the units hold the bytes."""

    def split(self, parts: int, stopping: threading.Event) -> list[Self]:
        """Itself: one worker cannot be dealt out."""
        del parts, stopping
        return [self]

    def hand_over(self, to: Self) -> None:
        """Nothing: there is no other."""

    def close(self) -> None:
        """Forget what the worker kept."""
        self._caller.leave()
        self._worker = Worker(self._worker.settings, fetch=_fetch)


def _fetch(blob: Blob) -> bytes:
    data: bytes = blob.handle
    return data
