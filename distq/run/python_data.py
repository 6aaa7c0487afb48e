"""Options of a job whose data comes from Python: samples are recorded first, and are data like any other."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import TypeVar

from distq.config import CalibrateOptions, CommonOptions, EvaluateOptions
from distq.data.recorded import is_recorded
from distq.data.samples import InputSpec
from distq.data.shards import DEFAULT_HOLDOUT
from distq.data.stream import expected, record
from distq.ending import temporary_folder
from distq.engine.progress import Reporter
from distq.errors import InterruptedRun, UsageError
from distq.exchange.model_file import is_caffe, read_network
from distq.files import out_is_taken
from distq.graph.large import from_proto
from distq.options import make_options
from distq.run.rundir import RunDir
from distq.run.samples import input_specs

Options = TypeVar("Options", bound=CommonOptions)


@contextmanager
def python_data(kind: type[Options], values: Mapping[str, object], reporter: Reporter) -> Iterator[Options]:
    """The options of a job; where ``data`` or ``holdout_data`` is no path, its samples have been recorded.

    Samples lie in ``data`` of the run folder, in the folder ``data_folder`` of the values, or, for a job
    without a run folder, in a temporary one; those held out in ``holdout`` beside it. A run that is resumed
    takes what was recorded before, and none of the items.

    Args:
        kind: One of distq.config's classes.
        values: Of its options, and maybe ``data_folder``.
        reporter: Told of progress.

    Raises:
        InputError: an option, the model or an item cannot be used.
        ExecutionError: the disk is full.
        InterruptedRun: Ctrl-C.
    """
    given, stated = dict(values), values.get("data_folder")
    given.pop("data_folder", None)
    streams = {name: given[name] for name in ("data", "holdout_data") if _is_stream(given.get(name))}
    if not streams and stated is not None:
        raise UsageError("data_folder is where samples from Python are kept: leave it out with a path")
    with ExitStack() as stack:
        if stated is not None:
            place = Path(str(stated))
        elif issubclass(kind, CalibrateOptions):
            place = RunDir(Path(str(given.get("out")))).data
        else:
            place = stack.enter_context(temporary_folder("distq-data-")) / "data"
        folders = {name: place if name == "data" else place.with_name("holdout") for name in streams}
        options = make_options(kind, {**given, **folders})
        missing = [name for name, folder in folders.items() if not _may_be_taken(options, folder)]
        for name in missing:
            _record(options, _iterable(name, streams[name]), name, folders[name], reporter)
        yield options


def _is_stream(value: object) -> bool:
    return value is not None and not isinstance(value, str | os.PathLike)


def _may_be_taken(options: CommonOptions, folder: Path) -> bool:
    """Whether the samples in the folder are this job's.

    Raises:
        UsageError: there is a run, or a recording, and the job is not resumed.
    """
    resume = isinstance(options, CalibrateOptions) and options.resume
    if isinstance(options, CalibrateOptions) and not resume and not RunDir(options.out).free:
        raise out_is_taken(options.out, "run", begun=RunDir(options.out).run.exists(), resume="resume=True")
    if is_recorded(folder) and not resume:
        raise UsageError(
            f"{folder} holds recorded samples: give the folder as the data to use them, "
            "or another folder for new ones"
        )
    return is_recorded(folder)


def _iterable(name: str, items: object) -> Iterable[object]:
    """What gives the samples one by one.

    Raises:
        UsageError: it cannot.
    """
    if isinstance(items, Mapping):  # as in an .npz: arrays by input, whose leading axis counts the samples
        return (dict(zip(items, row, strict=True)) for row in zip(*items.values(), strict=True))
    if not isinstance(items, Iterable):
        hint = "call it" if callable(items) else "give a path, an array, or anything that gives samples"
        raise UsageError(
            f"{name} is of type {type(items).__name__}, which gives no samples one by one: {hint}"
        )
    return items


def _record(
    options: CommonOptions, items: Iterable[object], name: str, folder: Path, reporter: Reporter
) -> None:
    made = [place for place in (folder, *folder.parents) if not place.exists()]
    most = most_items(options) if name == "data" else _held_out(options)
    reporter.start("record", expected(items, most), "samples")
    try:
        record(items, model_inputs(options), folder, most, reporter.advance)
    except BaseException as error:
        for left in [*folder.glob("[0-9]*.npz")]:
            left.unlink()
        for place in made:
            with suppress(OSError):  # another process has put something there
                place.rmdir()
        if isinstance(error, KeyboardInterrupt):
            raise InterruptedRun("interrupted while samples were recorded: start anew") from None
        raise
    finally:
        reporter.finish()


def most_items(options: CommonOptions) -> int | None:
    """How many items a job takes: those that calibrate and those held out; None is all."""
    samples: int = getattr(options, "samples", 0)
    if not samples or not isinstance(options, CalibrateOptions):
        return samples + getattr(options, "skip", 0) if samples else None
    if options.holdout_data is not None:
        return samples
    return samples + _held_out(options)


def _held_out(options: CommonOptions) -> int:
    number: int | None = getattr(options, "holdout", None)
    return DEFAULT_HOLDOUT if number is None else number


def model_inputs(options: CommonOptions) -> tuple[InputSpec, ...]:
    """The inputs of the model that a job is for, without states that ``--state`` gives.

    Raises:
        ModelError: it cannot be read.
    """
    path = options.candidate if isinstance(options, EvaluateOptions) else getattr(options, "model")  # noqa: B009  # of every other job
    weights = getattr(options, "weights", None) if is_caffe(path) else None
    states = dict(getattr(options, "state", ()))
    inputs = input_specs(from_proto(read_network(path, weights).proto))
    return tuple(spec for spec in inputs if spec.name not in states)
