"""Open a run: check everything, take its folder, start or borrow workers; and end it."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any, Protocol, TypeVar

from distq.config import CalibrateOptions, CommonOptions
from distq.data.dataset import DatasetSpec
from distq.data.manifest import manifest
from distq.data.shards import Selection
from distq.engine.collector import loaded_set_aside
from distq.engine.executor import Executor, Pool
from distq.engine.factory import open_executor
from distq.engine.journal import Journal
from distq.engine.progress import Reporter
from distq.engine.stalls import watched
from distq.errors import DistqError, ExecutionError, InputError, InterruptedRun
from distq.graph.compared import remarks
from distq.graph.heads import parts, reported, with_places
from distq.graph.load import LoadedModel
from distq.graph.plan import Plan
from distq.memory import is_out_of_memory, out_of_memory
from distq.replica.reference import Feeds
from distq.replica.worker import WorkerSettings
from distq.run.configured import tell_differences
from distq.run.context import Run
from distq.run.identity import identity
from distq.run.loading import checked, first_samples
from distq.run.measures import measures_of, names_measures
from distq.run.prepare import prepare_model, prepare_shown
from distq.run.pulse import Pulse
from distq.run.records import read_result
from distq.run.results import RunResult
from distq.run.resuming import resuming
from distq.run.rundir import RunDir
from distq.run.samples import prepare_data
from distq.run.starting import Starting
from distq.run.time_limit import Clock, TimeEnd, TimeLimit, seconds_of

Options = TypeVar("Options", bound=CalibrateOptions)

CHANGED_DEFAULTS = ("method",)
"""Options whose default an earlier version had otherwise."""


class Lender(Protocol):
    """Who lends workers to runs that have none of their own, such as a sweep."""

    def lend(self, identity: Mapping[str, Any]) -> Executor:
        """Workers for the run of this identity."""


@contextmanager
def open_run(
    options: CalibrateOptions,
    command: str,
    reporter: Reporter,
    lender: Lender | None = None,
    clock: Clock | None = None,
) -> Iterator[Run | RunResult]:
    """A run that is ready for its stages, or the result of one that is finished already.

    What this call wrote is removed again when the input turns out to be unusable, unless a search has begun.

    Args:
        options: of the command.
        command: its name, which is part of the run's identity.
        reporter: told of progress.
        lender: gives the workers; None: the run starts its own.
        clock: of the command; None: it begins now.

    Raises:
        InputError: what was given cannot be used.
        ExecutionError: no worker starts, or the disk is full.
    """
    with (
        starting_workers(options, reporter) as starting,
        _opened(options, command, reporter, lender, clock, starting) as opened,
    ):
        yield opened


@contextmanager
def _opened(  # noqa: PLR0917  # those of open_run, and the workers
    options: CalibrateOptions,
    command: str,
    reporter: Reporter,
    lender: Lender | None,
    clock: Clock | None,
    starting: Starting,
) -> Iterator[Run | RunResult]:
    limit = TimeLimit(getattr(options, "time", None), clock)
    tell_differences(options, reporter)
    rundir = RunDir(options.out)
    with resuming(rundir, resume=options.resume):
        starts = lender is None and not rundir.run.exists()
        if starts:
            starting.begin(options.model, options.data)
        loaded, plan, (data, holdout_data, selection) = _given(options, reporter)
        damaged = rundir.damaged() if rundir.finished else ()
        finished = rundir.finished and not damaged and not (options.resume and _goes_on(rundir, limit))
        if not finished:
            if starts:
                starting.begin()
            with watched(f"comparing the simplified network with {options.model}", reporter.warn):
                first = first_samples(data, selection.calibration)
                loaded, plan = _unchanged(options, loaded, plan, first, reporter)
        with watched("reading the samples for their SHA-256", reporter.warn):
            manifests = manifest(data, selection.calibration), manifest(holdout_data, selection.holdout)
        own_identity = identity(
            options=options, command=command, loaded=loaded, data=data, manifests=manifests
        )
        existed = rundir.path.exists()
        made = rundir.claim(own_identity, resume=options.resume, options=options.model_dump(mode="json"))
    ours = False
    if finished:
        yield _finished(rundir, reporter)
        return
    _make_again(rundir, damaged, reporter)
    try:
        with Journal(rundir.journal) as journal, ExitStack() as stack:
            rundir.remove_leftovers()
            ours = made
            said = {"command": command, "model": str(options.model)}
            reporter = pulse = stack.enter_context(Pulse(journal, reporter, said))
            starting.tell = pulse.warn
            workers = starting.take() if lender is None else lender.lend(own_identity)
            pulse.executor = executor = stack.enter_context(workers)
            stack.enter_context(loaded_set_aside())
            places, shown = (
                parts(loaded.model, plan),
                reported(loaded.model, indices=not names_measures(options)),
            )
            original = with_places(loaded.serialized(), shown)
            measuring, lowered = measures_of(options, original, data, selection.calibration, reporter)
            run = Run(
                options=options,
                reporter=reporter,
                rundir=rundir,
                loaded=loaded,
                plan=plan,
                data=data,
                selection=selection,
                holdout_data=holdout_data,
                journal=journal,
                executor=executor,
                float_model=executor.share(original),
                float_parts=executor.share(with_places(loaded.serialized(), places)),
                manifests=manifests,
                places=places,
                reported=shown,
                measuring=measuring,
                diff=lowered,
                alone=lender is None,
                time=limit,
            )
            for note in (*_notes(loaded, plan, options), *data.notes):
                run.warn(note)
            try:
                yield run
            except InputError:
                ours = ours and not journal.notes("layer")
                raise
            _remove_interim(rundir, journal, limit.end)
    except InputError:
        if ours:
            rundir.discard(keep_folder=existed)
        raise


def _given(
    options: CalibrateOptions, reporter: Reporter
) -> tuple[LoadedModel, Plan, tuple[DatasetSpec, DatasetSpec, Selection]]:
    """The network and its plan; the data, those held out, and which samples are for what."""
    with watched(f"loading {options.model} and its data", reporter.warn):
        loaded, plan = prepare_shown(options, reporter)
        found = prepare_data(options, loaded, reporter)
    for line in found[0].remarks():
        reporter.line(line)
    return loaded, plan, found


def _goes_on(rundir: RunDir, limit: TimeLimit) -> bool:
    """Whether a finished run was ended by a shorter ``--time``."""
    ended = read_result(rundir).ended
    return ended is not None and limit.seconds > seconds_of(ended.time)


def _make_again(rundir: RunDir, damaged: Sequence[Path], reporter: Reporter) -> None:
    """Have a run count as not finished."""
    if damaged:
        names = ", ".join(path.name for path in damaged)
        reporter.warn(f"{rundir.path}: {names} of the finished run damaged or gone; made again")
    rundir.metrics.unlink(missing_ok=True)


def _remove_interim(rundir: RunDir, journal: Journal, end: TimeEnd | None) -> None:
    """Remove what a finished run needs no more; one that the time ended may go on."""
    if end is None:
        journal.remove_parts()
        shutil.rmtree(rundir.best, ignore_errors=True)


def _finished(rundir: RunDir, reporter: Reporter) -> RunResult:
    """The result of a finished run; what a process left that was killed at its very end is removed."""
    result = read_result(rundir)
    if result.ended is not None:
        reporter.warn(f"{rundir.path}: {result.ended.text}")
    elif rundir.parts.is_dir() or rundir.best.is_dir():
        # who else has the run open does it, and a folder that cannot be written to stays as it is
        with suppress(DistqError, OSError), Journal(rundir.journal) as journal:
            rundir.remove_leftovers()
            _remove_interim(rundir, journal, None)
    return result


def _unchanged(
    options: CalibrateOptions, loaded: LoadedModel, plan: Plan, samples: Sequence[Feeds], reporter: Reporter
) -> tuple[LoadedModel, Plan]:
    """The network and its plan, without simplifications that change what it gives for the samples."""
    same = checked(loaded, samples, WorkerSettings())
    if same is loaded:
        return loaded, plan
    reporter.warn(f"{options.model}: not simplified by {', '.join(sorted(same.without))}, which changes it")
    return prepare_model(options, same.without)


def _notes(loaded: LoadedModel, plan: Plan, options: CalibrateOptions) -> Iterator[str]:
    """What a person should know of the network before it is worked on."""
    yield from loaded.notes
    for name in plan.settings.unused:
        yield f"{name} has no threshold of its own: what the prototxt sets for it has no effect"
    yield from remarks(loaded.model, indices=not names_measures(options))


def as_begun(options: Options) -> Options:
    """The options of a run that is continued: a default that has changed since it began is what it was.

    Raises:
        UsageError: the folder is no run of distq.
    """
    rundir = RunDir(options.out)
    if not options.resume or not rundir.run.exists():
        return options
    stored = rundir.identity()
    kept = {name: stored[name] for name in CHANGED_DEFAULTS if name in stored}
    return options.model_copy(update={n: v for n, v in kept.items() if n not in options.model_fields_set})


def open_workers(
    options: CommonOptions, reporter: Reporter, tell: Callable[[str], None] | None = None
) -> Pool:
    """The executor of the options; what happens to workers is shown as warnings, or told."""
    executor = open_executor(options, tell or reporter.warn)
    if options.device == "auto":
        reporter.line(f"--device auto: all workers ({executor.workers}) compute on {executor.device}")
    return executor


def starting_workers(options: CommonOptions, reporter: Reporter) -> Starting:
    """The same, where they may be opened beside what else there is to do."""
    return Starting(options, lambda tell: open_workers(options, reporter, tell), reporter.warn)


@contextmanager
def interruptible() -> Iterator[None]:
    """Turn Ctrl-C into distq's own error, which the command line ends with 130, and want of memory too.

    Raises:
        InterruptedRun: the user pressed Ctrl-C.
        ExecutionError: this process ran out of memory.
    """
    try:
        yield
    except KeyboardInterrupt:
        raise InterruptedRun("interrupted: continue with the same command and --resume") from None
    except DistqError:
        raise
    except Exception as error:
        if is_out_of_memory(error):
            raise ExecutionError(out_of_memory("the driver", error)) from error
        raise
