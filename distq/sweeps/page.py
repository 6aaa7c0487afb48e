"""The page of a sweep: its table, and the best runs side by side."""

from __future__ import annotations

import os
from pathlib import Path

from pydantic import ValidationError

from distq.errors import FileFormatError, UsageError
from distq.files import atomic_write
from distq.regular import read_regular
from distq.reports.facts import SweepLine
from distq.reports.page import page
from distq.reports.read import read_run
from distq.run.rundir import RunDir
from distq.sweeps.results import SweepResult, SweepRow

RESULTS, PAGE = "results.json", "report.html"
MOST_RUNS = 4
"""Runs side by side on the page of a sweep; the others are in its table."""


def is_sweep_folder(folder: Path) -> bool:
    """Whether a sweep has ended in a folder."""
    return (folder / RESULTS).is_file() and not RunDir(folder).run.exists()


def write_sweep_page(folder: Path, out: Path, *, images: bool = True) -> tuple[Path, ...]:
    """Write the page of a sweep that has ended; its runs are looked for in its folder.

    Args:
        folder: of the sweep.
        out: the page.
        images: with small pictures of the worst samples.

    Returns:
        The runs that it shows in full: of the first network the best for their time or their float layers,
        then the closest to float.

    Raises:
        InputError: a file of the sweep or of one of these runs is damaged.
        ExecutionError: the page cannot be written.
    """
    result = _read(folder / RESULTS)
    complete = [row for row in result.rows if row.error is None]
    if not complete:
        raise UsageError(f"no run of the sweep {folder} is complete: {RESULTS} says why")
    first = [row for row in complete if row.network == complete[0].network]
    shown = sorted(first, key=lambda row: not (row.best_for_time or row.best_for_float_layers))[:MOST_RUNS]
    runs = [read_run(folder / row.name, row.name, images=images) for row in shown]
    lines = [_line(row, folder, out.parent) for row in result.rows]
    atomic_write(out, page(runs, lines).encode())
    return tuple(run.path for run in runs)


def _read(path: Path) -> SweepResult:
    try:
        return SweepResult.model_validate_json(read_regular(path))
    except (OSError, ValidationError) as error:
        raise FileFormatError(
            f"{path} is damaged: have it made again by the same command with --resume"
        ) from error


def _line(row: SweepRow, folder: Path, beside: Path) -> SweepLine:
    own = RunDir(folder / row.name).report
    return SweepLine(
        name=row.name,
        link=Path(os.path.relpath(own, beside)).as_posix() if own.is_file() else "",
        accuracy=row.accuracy,
        float_layers=row.float_layers,
        seconds=row.seconds,
        best_for_time=row.best_for_time,
        best_for_float_layers=row.best_for_float_layers,
        error=row.error,
    )
