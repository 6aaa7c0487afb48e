"""The runs of a sweep on the same workers, several at once.

The first run takes all workers. Then these are divided, and runs go on side by side: a small network alone
would leave most of them idle while its layers wait for one another. A part that finds no run left hands its
workers over to another. What the float network gives is computed by the first run that needs it and kept for
the others (:class:`distq.sweeps.shared.SharedWork`); every run has its own folder and the files it would have
alone.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any, Protocol

from distq.config import CalibrateOptions, TuneOptions
from distq.engine.executor import Executor, Pool
from distq.engine.journal import Journal
from distq.engine.progress import Reporter, SilentReporter
from distq.engine.ray_cluster import machine_cores
from distq.errors import InterruptedRun
from distq.run.open import Lender
from distq.run.results import RunResult
from distq.sweeps.matrix import SweepRun, by_network
from distq.sweeps.queue import Queue, Turn
from distq.sweeps.results import SweepRow, complete_row, failed_row
from distq.sweeps.shared import SharedWork


class Calibrate(Protocol):
    """The verb of that name."""

    def __call__(self, options: CalibrateOptions, reporter: Reporter, lender: Lender) -> RunResult:
        """Calibrate on lent workers."""


class Tune(Protocol):
    """The verb of that name."""

    def __call__(self, options: TuneOptions, reporter: Reporter, lender: Lender) -> RunResult:
        """Calibrate and search on lent workers."""


@dataclass(frozen=True)
class Verbs:
    """What the commands of runs do."""

    calibrate: Calibrate
    tune: Tune


class _OneRun(SilentReporter):
    """Within a sweep's bar a run shows its warnings only."""

    def __init__(self, name: str, reporter: Reporter, lock: AbstractContextManager[Any]) -> None:
        self._name = name
        self._reporter = reporter
        self._lock = lock

    def warn(self, text: str) -> None:
        """With the name of the run."""
        with self._lock:
            self._reporter.warn(f"{self._name}: {text}")


class Runs:
    """The runs of a sweep, on all workers or side by side on parts of them."""

    def __init__(self, runs: Sequence[SweepRun], verbs: Verbs, journal: Journal, reporter: Reporter) -> None:
        self._verbs = verbs
        self._queue = Queue(by_network(runs))
        self._count = len(runs)
        self._journal = journal
        self._reporter = reporter
        self._lock = threading.RLock()  # of the journal, the reporter and what is below
        self._rows: dict[int, SweepRow] = {}
        self._used: dict[int, set[str]] = {}  # keys in the journal, by network
        self._busy: list[Pool] = []
        self._all_workers = 0

    def all_on(self, pool: Pool) -> list[SweepRow]:
        """Run them all; rows come in the order of networks and runs.

        Raises:
            InterruptedRun: Ctrl-C.
        """
        self._all_workers = pool.workers
        side_by_side = min(pool.workers, machine_cores(), self._count - 1)
        if side_by_side > 1:
            self._next(pool)
            self._on_parts(pool, side_by_side)
        while self._next(pool):
            pass
        return [self._rows[position] for position in sorted(self._rows)]

    def _on_parts(self, pool: Pool, count: int) -> None:
        stopping = threading.Event()
        parts = pool.split(count, stopping)
        self._busy = list(parts)
        with ThreadPoolExecutor(len(parts), thread_name_prefix="distq-sweep") as threads:
            try:
                for ended in as_completed([threads.submit(self._on_part, part) for part in parts]):
                    ended.result()
            finally:  # also when one of them failed, or Ctrl-C came
                self._queue.stop()
                stopping.set()

    def _on_part(self, part: Pool) -> None:
        while self._next(part):
            pass
        with self._lock:
            self._busy.remove(part)
            if self._busy:
                part.hand_over(min(self._busy, key=lambda other: other.workers))

    def _next(self, executor: Executor) -> bool:
        """Run the next one, whatever becomes of it; False when there is none."""
        turn = self._queue.take()
        if turn is None:
            return False
        with self._lock:
            used = self._used.setdefault(turn.network, set())
        shared = SharedWork(
            executor, self._journal, lock=self._lock, used=used, all_workers=self._all_workers
        )
        row = self._row(turn, _OneRun(turn.run.name, self._reporter, self._lock), shared)
        with self._lock:
            self._rows[turn.position] = row
            if self._queue.over(turn):
                unused = self._used.pop(turn.network).difference(*self._used.values())
                self._journal.forget(unused)
            self._reporter.line(_summary(row))
            self._reporter.advance()
        return True

    def _row(self, turn: Turn, reporter: Reporter, shared: SharedWork) -> SweepRow:
        """Run one, whatever becomes of it."""
        run = turn.run
        options = run.options.model_copy(update={"resume": run.options.out.exists()})
        try:
            if isinstance(options, TuneOptions):
                result = self._verbs.tune(options, reporter, shared)
            else:
                result = self._verbs.calibrate(options, reporter, shared)
        except InterruptedRun:
            raise
        except Exception as error:  # noqa: BLE001  # whatever is wrong with one run, the others go on
            return failed_row(run, turn.network, " ".join(str(error).split()) or type(error).__name__)
        return complete_row(run, turn.network, result, shared.seconds(run.name, result.cost.seconds))


def _summary(row: SweepRow) -> str:
    if row.error is not None:
        return f"{row.name}: failed: {row.error}"
    closeness = "nothing held out" if row.accuracy is None else f"{row.accuracy.sqnr_db:.2f} dB held out"
    return f"{row.name}: {closeness}, {row.seconds:.1f} s"
