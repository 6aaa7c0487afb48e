"""``distq sweep``: many runs on the same workers, several at once.

The first run takes all workers. Then they are dealt out, and runs go on side by side: a small network alone
would leave most of them idle while its layers wait for one another. Whoever has nothing left to do hands its
workers over. What the float network gives is computed by the first run that needs it and kept for the others
(:class:`distq.jobs.shared.SharedWork`); every run has its own folder and the files it would have alone.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

from distq.config import CalibrateOptions, TuneOptions
from distq.engine.executor import Executor, Pool
from distq.engine.journal import Journal
from distq.engine.progress import Reporter, SilentReporter
from distq.engine.ray_cluster import machine_cores
from distq.errors import InterruptedRun, UsageError
from distq.files import make_run_folder
from distq.jobs.calibrate import calibrate
from distq.jobs.context import interruptible, open_workers
from distq.jobs.results import RunResult
from distq.jobs.rundir import RunDir
from distq.jobs.shared import SharedWork
from distq.jobs.sweep_queue import Queue, Turn
from distq.jobs.sweep_results import (
    SweepResult,
    SweepRow,
    complete_row,
    failed_row,
    ranked,
    write_results,
)
from distq.jobs.sweepfile import Sweep, SweepRun
from distq.jobs.tune import tune

_NETWORK = ("model", "data", "preprocess", "samples", "shuffle", "seed", "holdout", "holdout_data")
"""Options that decide which network a run is of, and on which samples."""


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


def sweep(wanted: Sweep, reporter: Reporter, *, resume: bool = False) -> SweepResult:
    """Run a sweep.

    A run that fails leaves the others alone; its row says why.

    Args:
        wanted: what :func:`distq.jobs.sweepfile.load_sweep` read.
        reporter: told of every run that ends.
        resume: continue what is in the sweep's folder: finished runs are read, the others go on.

    Raises:
        UsageError: the folder is taken or cannot be made, or there are no such workers.
        ExecutionError: no worker starts.
        InterruptedRun: Ctrl-C.
    """
    started = time.monotonic()
    _take_folder(wanted.out, resume=resume)
    with (
        interruptible(),
        Journal(wanted.out / "journal.jsonl") as journal,
        open_workers(wanted.place, reporter) as pool,
    ):
        reporter.start("sweep", len(wanted.runs), "runs")
        rows = _Runs(wanted.runs, journal, reporter).all_on(pool)
        journal.remove_parts()
        reporter.finish()
    files = (wanted.out / "results.csv", wanted.out / "results.json")
    seconds = round(time.monotonic() - started, 3)
    result = SweepResult(out=wanted.out, rows=ranked(rows), seconds=seconds, files=files)
    write_results(result)
    return result


class _Runs:
    """The runs of a sweep, on all workers or side by side on parts of them."""

    def __init__(self, runs: Sequence[SweepRun], journal: Journal, reporter: Reporter) -> None:
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
        row = _row(turn, _OneRun(turn.run.name, self._reporter, self._lock), shared)
        with self._lock:
            self._rows[turn.position] = row
            if self._queue.over(turn):
                unused = self._used.pop(turn.network).difference(*self._used.values())
                self._journal.forget(unused)
            self._reporter.line(_summary(row))
            self._reporter.advance()
        return True


def by_network(runs: Sequence[SweepRun]) -> list[list[SweepRun]]:
    """Runs on the same model, data and preprocessing together, in the order of their first."""
    groups: dict[object, list[SweepRun]] = {}
    for run in runs:
        fields = run.options.model_dump(include=set(_NETWORK))
        key = tuple(fields[name] for name in _NETWORK)
        groups.setdefault(key, []).append(run)
    return list(groups.values())


def _take_folder(out: Path, *, resume: bool) -> None:
    """Make the folder of a sweep.

    Raises:
        UsageError: it is taken, or cannot be made.
        ExecutionError: the disk is full.
    """
    if not resume and out.exists() and not (out.is_dir() and not any(out.iterdir())):
        raise UsageError(f"{out} exists: give another --out, or --resume to continue the sweep in it")
    if RunDir(out).run.exists():
        raise UsageError(f"{out} is a single run, not the folder of a sweep: give another --out")
    make_run_folder(out)


def _row(turn: Turn, reporter: Reporter, shared: SharedWork) -> SweepRow:
    """Run one, whatever becomes of it."""
    run = turn.run
    options = run.options.model_copy(update={"resume": run.options.out.exists()})
    try:
        result = _start(options, reporter, shared)
    except InterruptedRun:
        raise
    except Exception as error:  # noqa: BLE001  # whatever is wrong with one run, the others go on
        return failed_row(run, turn.network, " ".join(str(error).split()) or type(error).__name__)
    return complete_row(run, turn.network, result, shared.seconds(run.name, result.cost.seconds))


def _start(options: CalibrateOptions, reporter: Reporter, shared: SharedWork) -> RunResult:
    if isinstance(options, TuneOptions):
        return tune(options, reporter, shared)
    return calibrate(options, reporter, shared)


def _summary(row: SweepRow) -> str:
    if row.error is not None:
        return f"{row.name}: failed: {row.error}"
    closeness = "nothing held out" if row.accuracy is None else f"{row.accuracy.sqnr_db:.2f} dB held out"
    return f"{row.name}: {closeness}, {row.seconds:.1f} s"
