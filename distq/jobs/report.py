"""``distq report``: one HTML page of a run, or of several side by side."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

from distq.engine.progress import Reporter
from distq.errors import UsageError
from distq.files import require_place
from distq.regular import open_regular
from distq.reports.model_explorer import write_node_data
from distq.reports.page import write_page
from distq.reports.read import read_measured
from distq.reports.runs import read_runs
from distq.run_options import ReportOptions
from distq.sweeps.page import is_sweep_folder, write_sweep_page

_HEAD_BYTES = 4096

MOST_RUNS = 8
"""Runs on one page; more cannot be read side by side."""


@dataclass(frozen=True)
class ReportResult:
    """What was written.

    Attributes:
        out: the page.
        node_data: files for Model Explorer.
        runs: folders of the runs that it shows in full.
        bytes: its size.
    """

    out: Path
    runs: tuple[Path, ...]
    bytes: int
    node_data: tuple[Path, ...] = ()


def _is_page(path: Path) -> bool:
    """Whether a file is one that this verb wrote, which another may take the place of."""
    try:
        with open_regular(path) as stream:
            start = stream.read(_HEAD_BYTES)
    except OSError:
        return False
    return start.startswith(b"<!doctype html>") and " – distq</title>".encode() in start


def report(options: ReportOptions, reporter: Reporter) -> ReportResult:
    """Write the page of finished runs, or of a sweep; no network runs, and no run is changed.

    Raises:
        InputError: a run is missing, unfinished or damaged; nothing was written.
        ExecutionError: the disk does not take the page.
    """
    out = options.out
    if out.is_dir() or not out.parent.is_dir():
        raise UsageError(f"--out {out} is a folder, or in none that exists: give a file such as page.html")
    if out.exists() and not _is_page(out):
        raise UsageError(f"--out {out} exists and is no page of distq: give another file")
    if out.suffix.lower() not in {".html", ".htm"}:
        raise UsageError(f"--out {out}: the page is HTML: give a name such as {out.stem}.html")
    require_place(out, "--out")
    if len(options.runs) > MOST_RUNS:
        raise UsageError(f"{len(options.runs)} runs do not fit on a page: give at most {MOST_RUNS}")
    alone = len(options.runs) == 1 and not is_sweep_folder(options.runs[0])
    if (options.measured or options.model_explorer) and not alone:
        name = "--measured" if options.measured else "--model-explorer"
        raise UsageError(f"{name} is of one run: give that run alone")
    measured, node_data = tuple(map(read_measured, options.measured)), tuple[Path, ...]()
    if len(options.runs) == 1 and is_sweep_folder(options.runs[0]):
        runs = write_sweep_page(options.runs[0], out, images=options.images)
    else:
        runs = options.runs
        shown = [replace(run, measured=measured) for run in read_runs(runs, images=options.images)]
        reporter.line(f"writing {out}")
        if options.model_explorer:
            node_data = write_node_data(shown[0], out)
        write_page(shown, out)
    return ReportResult(out, runs, out.stat().st_size, node_data)
