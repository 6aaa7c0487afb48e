"""``distq export``: the INT8 network and the table of a run, also of one that goes on."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from distq.engine.progress import Reporter
from distq.errors import FileFormatError, UsageError
from distq.files import atomic_copy, make_run_folder
from distq.run.best_so_far import read_best_so_far
from distq.run.rundir import RunDir
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
    if not rundir.run.is_file():
        raise UsageError(f"{rundir.path} is not a run of distq: give the --out of calibrate, tune or auto")
    rundir.identity()
    own = (folder.model, folder.weights, folder.thresholds, folder.tensors)
    _require_place(folder.path, own)
    stage, moved = "finished", tuple[str, ...]()
    if rundir.finished:
        _copy(rundir, folder)
    elif options.best_so_far:
        best = read_best_so_far(rundir)
        make_run_folder(folder.path)
        best.write(folder)
        stage, moved = best.stage, best.moved
        if best.evened:
            reporter.warn(
                "the run evened out channels: the table is of the network as exported, not of the float one"
            )
    else:
        raise UsageError(
            f"{rundir.path} is not finished: --best-so-far takes the best network that it has by now"
        )
    return ExportResult(folder.path, tuple(path for path in own if path.is_file()), stage, moved)


def _copy(rundir: RunDir, folder: RunDir) -> None:
    """Copy what a finished run has, once it is known to be whole."""
    if damaged := rundir.damaged():
        raise FileFormatError(
            f"{damaged[0]} is not what its run wrote: have it made again by the same command with --resume"
        )
    make_run_folder(folder.path)
    for name in ("weights", "model", "thresholds", "tensors"):
        source = getattr(rundir, name)
        if source.is_file():
            atomic_copy(source, getattr(folder, name))


def _require_place(out: Path, own: tuple[Path, ...]) -> None:
    """Refuse a folder with anything in it but an earlier export.

    Raises:
        UsageError: it has something else.
    """
    if out.exists() and (not out.is_dir() or not {*out.iterdir()} <= {*own}):
        raise UsageError(f"--out {out} has other files: give a new folder, or one of an earlier export")
