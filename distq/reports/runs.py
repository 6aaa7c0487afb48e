"""Pages of runs that are named on a command line, or that have just ended."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from distq.reports.facts import RunFacts
from distq.reports.page import write_page
from distq.reports.read import read_run
from distq.run.results import RunResult
from distq.run.rundir import RunDir


def read_runs(paths: Sequence[Path], *, images: bool = True) -> list[RunFacts]:
    """Read runs; each is called by as much of its path as tells it from the others.

    Args:
        paths: run folders.
        images: with small pictures of their worst samples.

    Raises:
        UsageError: one is no run, or not finished.
        FileFormatError: a file of one is damaged.
    """
    return [read_run(path, label, images=images) for path, label in zip(paths, labels(paths), strict=True)]


def labels(paths: Sequence[Path]) -> list[str]:
    """The last parts of each path, as many as tell all of them apart; a path given twice stands twice."""
    parts = [path.resolve().parts for path in paths]
    longest, different = max(map(len, parts)), len(set(parts))
    count = next((n for n in range(1, longest) if len({p[-n:] for p in parts}) == different), longest)
    return ["/".join(p[-count:]) for p in parts]


def with_report(result: RunResult, *, wanted: bool) -> RunResult:
    """The result of a run that has ended, with its page written into its folder where that is wanted."""
    rundir = RunDir(result.out)
    if not wanted:
        return result
    write_page(read_runs([rundir.path]), rundir.report)
    return result.model_copy(update={"files": rundir.files()})
