"""The functions of the Python interface that look at runs, as ``distq`` offers them.

Jobs are imported when called, as in :mod:`distq.verbs`.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from distq.engine.progress import Reporter
    from distq.jobs.export import ExportResult
    from distq.jobs.report import ReportResult
    from distq.run.watching import Status

FilePath = str | os.PathLike[str]


def report(
    runs: FilePath | Iterable[FilePath],
    *,
    out: FilePath,
    measured: FilePath | Iterable[FilePath] = (),
    images: bool = True,
    model_explorer: bool = False,
    reporter: Reporter | None = None,
) -> ReportResult:
    """Write one HTML page of finished runs, which opens from disk and needs no other file.

    Args:
        runs: A run folder, several to show side by side, or the folder of a sweep.
        out: The page; one that exists is replaced.
        measured: A file with what ``distq diff --json`` printed of the run, or several.
        images: With small pictures of the worst samples, where the run's data is still there.
        model_explorer: Also write node data for Google's Model Explorer beside the page, of one run.
        reporter: Told of progress; silent by default.

    Returns:
        What was written.

    Raises:
        InputError: A run is missing, unfinished or damaged (exit code 2 of the command).
        ExecutionError: The page cannot be written (exit code 3).
    """
    from distq.engine.progress import SilentReporter  # noqa: PLC0415  # lazy, see above
    from distq.jobs.report import report as job  # noqa: PLC0415  # lazy, see above
    from distq.options import make_options  # noqa: PLC0415  # lazy, see above
    from distq.run_options import ReportOptions  # noqa: PLC0415  # lazy, see above

    values = {
        "runs": _several(runs),
        "out": out,
        "measured": _several(measured),
        "images": images,
        "model_explorer": model_explorer,
    }
    return job(make_options(ReportOptions, values), reporter or SilentReporter())


def _several(paths: FilePath | Iterable[FilePath]) -> tuple[FilePath, ...]:
    return (paths,) if isinstance(paths, str | os.PathLike) else tuple(paths)


def export(
    run: FilePath, *, out: FilePath, best_so_far: bool = False, reporter: Reporter | None = None
) -> ExportResult:
    """Write the INT8 network and the table of a run, also of one that another process is at.

    Args:
        run: the ``out`` of calibrate, tune or auto.
        out: the folder to write; one of an earlier export may be there.
        best_so_far: of a run that goes on, take the best network that it has by now.
        reporter: Told of warnings; silent by default.

    Returns:
        What was written.

    Raises:
        InputError: The run is missing or damaged, or goes on and ``best_so_far`` is not given (exit code 2
            of the command).
        ExecutionError: The files cannot be written (exit code 3).
    """
    from distq.engine.progress import SilentReporter  # noqa: PLC0415  # lazy, see above
    from distq.jobs.export import export as job  # noqa: PLC0415  # lazy, see above
    from distq.options import make_options  # noqa: PLC0415  # lazy, see above
    from distq.run_options import ExportOptions  # noqa: PLC0415  # lazy, see above

    options = make_options(ExportOptions, {"run": run, "out": out, "best_so_far": best_so_far})
    return job(options, reporter or SilentReporter())


def watch(
    run: FilePath, *, every: float = 2.0, address: str | None = None, reporter: Reporter | None = None
) -> Iterator[Status]:
    """Look at a run that another process is at, until it ends.

    Args:
        run: the ``out`` of calibrate, tune or auto; or with ``address`` the id of a submitted job.
        every: Seconds between two looks.
        address: The URL of the head's dashboard, such as ``http://HEAD:8265``.
        reporter: Told of warnings; silent by default.

    Returns:
        Stage, rate, time left, workers, the best network so far and the last decisions, a look at a time; the
        last one is of the end.

    Raises:
        InputError: The folder is no run, or there is no such job (exit code 2 of the command).
        ExecutionError: The job failed before its run began (exit code 3).
    """
    from distq.engine.progress import SilentReporter  # noqa: PLC0415  # lazy, see above
    from distq.jobs.watch import watch as job  # noqa: PLC0415  # lazy, see above
    from distq.options import make_options  # noqa: PLC0415  # lazy, see above
    from distq.run_options import WatchOptions  # noqa: PLC0415  # lazy, see above

    options = make_options(WatchOptions, {"run": run, "every": every, "address": address})
    return job(options, reporter or SilentReporter())
