"""Says in the journal, every few seconds, how far a run is and what its workers do, for who watches it."""

from __future__ import annotations

import contextlib
import os
import platform
import threading
import time
from collections import deque
from collections.abc import Mapping
from types import TracebackType
from typing import Any, Self

from distq.engine.executor import Executor
from distq.engine.journal import Journal
from distq.engine.progress import Reporter
from distq.errors import ExecutionError, InterruptedRun

SHORTEST, LONGEST = 1.0, 15.0
"""Seconds between two records; the longer a run goes on, the fewer it writes."""

_PART = 1 / 300
"""Of the time since the run began, between two records."""

RATE_SECONDS = 60.0
"""A record says how much was done so long before, for the rate: recalled work does not count for long."""

MOST_WORKERS = 64
"""Workers that a record names; of more, it says how many there are."""

WORKING = "working"


class Pulse:
    """A run's reporter that also tells the journal, from a thread beside the run.

    Attributes:
        executor: whose workers are told of; None: there are none yet.
    """

    def __init__(self, journal: Journal, reporter: Reporter, run: Mapping[str, Any]) -> None:
        """Tell nothing yet.

        Args:
            journal: of the run.
            reporter: what is told goes on to it.
            run: what every record says of the run, such as its command.
        """
        self.executor: Executor | None = None
        self._journal = journal
        self._reporter = reporter
        self._run = {**run, "pid": os.getpid(), "host": platform.node(), "began": time.time()}
        self._stage: dict[str, Any] = {}
        self._done = deque[tuple[float, int]]()  # of the stage that the last record told of
        self._warnings: list[str] = []
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._beat, name="distq-pulse", daemon=True)

    def start(self, stage: str, total: int, unit: str) -> None:
        """Begin a stage."""
        self._stage = {"stage": stage, "total": total, "unit": unit, "done": 0, "since": time.time()}
        self._reporter.start(stage, total, unit)

    def advance(self, count: int = 1) -> None:
        """So many more are done."""
        if self._stage:
            self._stage["done"] += count
        self._reporter.advance(count)

    def left(self, seconds: float) -> None:
        """The rest of the stage takes so long."""
        if self._stage:
            self._stage["ends"] = time.time() + seconds
        if hasattr(self._reporter, "left"):  # a user's own may have been written before there was this
            self._reporter.left(seconds)

    def finish(self) -> None:
        """End the stage."""
        self._reporter.finish()

    def line(self, text: str) -> None:
        """A log line, which is not for the journal."""
        self._reporter.line(text)

    def warn(self, text: str) -> None:
        """A warning."""
        self._warnings.append(text)
        self._reporter.warn(text)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._ended.set()
        self._thread.join()
        self._say(_how_it_ended(error))

    def _beat(self) -> None:
        while True:
            self._say(WORKING)
            elapsed = time.time() - self._run["began"]
            if self._ended.wait(max(SHORTEST, min(LONGEST, elapsed * _PART))):
                return

    def _before(self, stage: Mapping[str, Any], now: float) -> tuple[float, int]:
        """When and how much was done at the last record that is older than the rate looks back."""
        if not self._done or stage["since"] > self._done[-1][0]:
            self._done = deque([(stage["since"], 0)])
        self._done.append((now, stage["done"]))
        while len(self._done) > 2 and now - self._done[1][0] >= RATE_SECONDS:
            self._done.popleft()
        return self._done[0]

    def _say(self, state: str) -> None:
        workers = [] if self.executor is None else list(self.executor.doing())
        warnings, stage, now = self._warnings, dict(self._stage), time.time()
        if stage:
            stage["before"] = self._before(stage, now)
        with contextlib.suppress(ExecutionError):  # the run itself finds a full disk, and says so
            self._journal.status(
                time=now,
                state=state,
                **self._run,
                **stage,
                workers=workers[:MOST_WORKERS],
                of_workers=len(workers),
                warnings=len(warnings),
                warning=warnings[-1] if warnings else "",
            )


def _how_it_ended(error: BaseException | None) -> str:
    if error is None:
        return "finished"
    if isinstance(error, KeyboardInterrupt | InterruptedRun):
        return "interrupted"
    return f"failed: {' '.join(str(error).split()) or type(error).__name__}"
