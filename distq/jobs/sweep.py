"""``distq sweep``: many runs, one after the other, on the same workers.

Runs on the same model, data and preprocessing follow each other. What the float network gives is computed
by the first that needs it and kept for the others (:class:`distq.jobs.shared.SharedWork`); every run has its
own folder and the files it would have alone.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path

from distq.config import CalibrateOptions, TuneOptions
from distq.engine.journal import Journal
from distq.engine.progress import Reporter, SilentReporter
from distq.errors import InterruptedRun, UsageError
from distq.jobs.calibrate import calibrate
from distq.jobs.context import interruptible, open_workers
from distq.jobs.results import RunResult
from distq.jobs.rundir import RunDir
from distq.jobs.shared import SharedWork
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

    def __init__(self, name: str, reporter: Reporter) -> None:
        self._name = name
        self._reporter = reporter

    def warn(self, text: str) -> None:
        """With the name of the run."""
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
        open_workers(wanted.place, reporter) as executor,
    ):
        shared = SharedWork(executor, journal)
        rows: list[SweepRow] = []
        reporter.start("sweep", len(wanted.runs), "runs")
        for network, runs in enumerate(by_network(wanted.runs)):
            for run in runs:
                rows.append(_row(run, network, reporter, shared))
                reporter.line(_summary(rows[-1]))
                reporter.advance()
            shared.drop_large_results()
        reporter.finish()
    files = (wanted.out / "results.csv", wanted.out / "results.json")
    seconds = round(time.monotonic() - started, 3)
    result = SweepResult(out=wanted.out, rows=ranked(rows), seconds=seconds, files=files)
    write_results(result)
    return result


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
    """
    if not resume and out.exists() and not (out.is_dir() and not any(out.iterdir())):
        raise UsageError(f"{out} exists: give another --out, or --resume to continue the sweep in it")
    if RunDir(out).run.exists():
        raise UsageError(f"{out} is a single run, not the folder of a sweep: give another --out")
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UsageError(f"{out} cannot be made: {error.strerror}; give another --out") from error


def _row(run: SweepRun, network: int, reporter: Reporter, shared: SharedWork) -> SweepRow:
    """Run one, whatever becomes of it."""
    shared.begin()
    options = run.options.model_copy(update={"resume": run.options.out.exists()})
    try:
        result = _start(options, _OneRun(run.name, reporter), shared)
    except InterruptedRun:
        raise
    except Exception as error:  # noqa: BLE001  # whatever is wrong with one run, the others go on
        return failed_row(run, network, " ".join(str(error).split()) or type(error).__name__)
    return complete_row(run, network, result, shared.seconds_of(run.name))


def _start(options: CalibrateOptions, reporter: Reporter, shared: SharedWork) -> RunResult:
    if isinstance(options, TuneOptions):
        return tune(options, reporter, shared)
    return calibrate(options, reporter, shared)


def _summary(row: SweepRow) -> str:
    if row.error is not None:
        return f"{row.name}: failed: {row.error}"
    closeness = "nothing held out" if row.accuracy is None else f"{row.accuracy.sqnr_db:.2f} dB held out"
    return f"{row.name}: {closeness}, {row.seconds:.1f} s"
