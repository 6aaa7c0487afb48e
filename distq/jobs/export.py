"""``distq export``: the INT8 network and the table of a run, also of one that goes on."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from distq.engine.progress import Reporter
from distq.errors import FileFormatError, UsageError
from distq.files import atomic_copy, make_run_folder
from distq.run.best_so_far import BestSoFar, read_best_so_far, until_it_stays
from distq.run.rundir import RunDir
from distq.run.which_run import job_of_run
from distq.run_options import ExportOptions


@dataclass(frozen=True)
class ExportResult:
    """What was written.

    Attributes:
        out: the folder.
        files: in it.
        stage: what the run did last to the network; ``finished`` of one that has ended.
        moved: tensors whose thresholds a search that goes on has moved.
    """

    out: Path
    files: tuple[Path, ...]
    stage: str
    moved: tuple[str, ...]


def export(options: ExportOptions, reporter: Reporter) -> ExportResult:
    """Write network and table of a finished run, or the best so far of one that goes on; no run is changed.

    Raises:
        InputError: it is no run, is damaged, or has not ended and the best so far is not asked for.
        ExecutionError: the disk does not take the files.
    """
    rundir, folder = RunDir(options.run), RunDir(options.out)
    job_of_run(rundir)
    own = _files(folder)
    _require_place(folder.path, own)
    best, written = until_it_stays(lambda: _write(rundir, folder, best_so_far=options.best_so_far))
    for path in {*own} - written:  # of an earlier export
        path.unlink(missing_ok=True)
    if best is not None and best.evened:
        reporter.warn(
            f"the run evened out channels: the table is of {folder.equalized.name}, not of the float network"
        )
    stage, moved = ("finished", ()) if best is None else (best.stage, best.moved)
    return ExportResult(folder.path, tuple(path for path in own if path in written), stage, moved)


def _files(folder: RunDir) -> tuple[Path, ...]:
    networks = (folder.model, folder.weights, folder.equalized, folder.equalized_weights)
    return (*networks, folder.thresholds, folder.tensors)


def _write(rundir: RunDir, folder: RunDir, *, best_so_far: bool) -> tuple[BestSoFar | None, set[Path]]:
    """Write what a run has: its best so far, which of a finished one is None, and the files."""
    if rundir.finished:
        return None, _copy(rundir, folder)
    if not best_so_far:
        raise UsageError(
            f"{rundir.path} is not finished: --best-so-far takes the best network that it has by now"
        )
    best = read_best_so_far(rundir)
    make_run_folder(folder.path)
    folder.remove_leftovers()
    return best, best.write(folder)


def _copy(rundir: RunDir, folder: RunDir) -> set[Path]:
    """Copy what a finished run has, once it is known to be whole."""
    if damaged := rundir.damaged():
        raise FileFormatError(
            f"{damaged[0]} is not what its run wrote: have it made again by the same command with --resume"
        )
    make_run_folder(folder.path)
    folder.remove_leftovers()
    there = [path.name for path in _files(rundir) if path.is_file()]
    for name in there:
        atomic_copy(rundir.path / name, folder.path / name)
    return {folder.path / name for name in there}


def _require_place(out: Path, own: tuple[Path, ...]) -> None:
    """Refuse a folder with anything in it but an earlier export.

    Raises:
        UsageError: it has something else.
    """
    names = {path.name for path in own}
    leftovers = tuple(f".{name}." for name in names)  # of an export that was killed
    others = out.is_dir() and any(
        p.name not in names and not p.name.startswith(leftovers) for p in out.iterdir()
    )
    if others or (out.exists() and not out.is_dir()):
        raise UsageError(f"--out {out} has other files: give a new folder, or one of an earlier export")
