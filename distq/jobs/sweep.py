"""``distq sweep``: many runs on the same workers, and which of them are best."""

from __future__ import annotations

import time
from pathlib import Path

from distq.engine.journal import Journal
from distq.engine.progress import Reporter
from distq.errors import UsageError
from distq.files import make_run_folder, out_is_taken
from distq.run.open import interruptible, open_workers
from distq.run.rundir import RunDir
from distq.sweeps.matrix import Sweep
from distq.sweeps.page import PAGE, write_sweep_page
from distq.sweeps.results import SweepResult, ranked, write_results
from distq.sweeps.runs import Runs, Verbs


def sweep(wanted: Sweep, verbs: Verbs, reporter: Reporter, *, resume: bool = False) -> SweepResult:
    """Run a sweep.

    A run that fails leaves the others alone; its row says why.

    Args:
        wanted: what :func:`distq.sweeps.matrix.load_sweep` read.
        verbs: what each command of a run does.
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
        Journal(_journal_of(wanted.out)) as journal,
        open_workers(wanted.place, reporter) as pool,
    ):
        reporter.start("sweep", len(wanted.runs), "runs")
        rows = Runs(wanted.runs, verbs, journal, reporter).all_on(pool)
        journal.remove_parts()
        reporter.finish()
    files = (wanted.out / "results.csv", wanted.out / "results.json")
    seconds = round(time.monotonic() - started, 3)
    result = SweepResult(out=wanted.out, rows=ranked(rows), seconds=seconds, files=files)
    write_results(result)
    if not any(run.options.report for run in wanted.runs) or len(result.failed) == len(result.rows):
        return result
    page = wanted.out / PAGE
    write_sweep_page(wanted.out, page)
    return result.model_copy(update={"files": (*files, page)})


def _take_folder(out: Path, *, resume: bool) -> None:
    """Make the folder of a sweep.

    Raises:
        UsageError: it is taken, or cannot be made.
        ExecutionError: the disk is full.
    """
    used = out.exists() and not (out.is_dir() and not any(out.iterdir()))
    if RunDir(out).run.exists():
        raise UsageError(f"{out} is a single run, not the folder of a sweep: give another --out")
    begun = _journal_of(out).is_file()
    if used and not (resume and begun):
        raise out_is_taken(out, "sweep", begun=begun)
    make_run_folder(out)


def _journal_of(out: Path) -> Path:
    """Of the sweep itself, made first; each run has its own."""
    return out / "journal.jsonl"
