"""Cascades: every model calibrated, and tuned, on what the others hand to it while ``forward`` runs."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict

from distq.cascades.items import Forward, Program
from distq.cascades.models import CascadeModel, Models
from distq.cascades.recording import Pass, record_inputs
from distq.config import CalibrateOptions, TuneOptions
from distq.data.recorded import RecordedSource, is_recorded
from distq.data.shards import DEFAULT_HOLDOUT
from distq.engine.executor import Executor
from distq.engine.journal import Journal
from distq.engine.progress import Reporter
from distq.engine.sharing import SharingExecutor
from distq.errors import ExecutionError, InputError, InterruptedRun, UsageError
from distq.files import atomic_write, make_run_folder, out_is_taken
from distq.run.open import interruptible, open_workers
from distq.run.results import RunResult
from distq.run.rundir import RunDir
from distq.sweeps.runs import Verbs

Upstream = Literal["float", "int8"]

_BEGUN, _ORDER = "begun", "order"  # kinds of notes in the journal


class CascadeResult(BaseModel):
    """Outcome of a cascade.

    Attributes:
        out: its folder.
        order: the models, as ``forward`` first called them.
        runs: result of each, by name; its run folder is ``out`` / name.
    """

    model_config = ConfigDict(frozen=True)

    out: Path
    order: tuple[str, ...]
    runs: dict[str, RunResult]


@dataclass(frozen=True)
class Wanted:
    """What is asked of a cascade.

    Attributes:
        out: its folder.
        options: of each model's run, by name; ``data`` and ``out`` are the cascade's to choose.
        upstream: what runs in front of a model while its samples are recorded.
        items: most of them that are taken; None is all.
        resume: continue what is in ``out``.
        forward_on_workers: whether these run ``forward`` as well.
        items_again: whether the items can be had again, as those of a folder: what was recorded of them is
            not kept where the cascade turns out to be impossible.
    """

    out: Path
    options: Mapping[str, CalibrateOptions]
    upstream: Upstream = "int8"
    items: int | None = None
    resume: bool = False
    forward_on_workers: bool = False
    items_again: bool = False


def quantize_cascade(  # noqa: PLR0917  # six different things, in the order a person thinks of them
    models: Models,
    forward: Forward,
    items: Iterable[object],
    wanted: Wanted,
    verbs: Verbs,
    reporter: Reporter,
) -> CascadeResult:
    """Quantize the models of a cascade in the order in which ``forward`` first calls them.

    Args:
        models: as ``forward`` calls them.
        forward: takes an item of the data.
        items: taken once, and kept in ``inputs`` of the folder.
        wanted: where, how, and how many.
        verbs: what calibrates and tunes a model.
        reporter: told of progress.

    Raises:
        InputError: a model, an item, an option or the folder cannot be used.
        ExecutionError: it failed while running.
        InterruptedRun: Ctrl-C; the same call with ``resume`` continues.
    """
    place = next(iter(wanted.options.values()))
    with (
        _folder_of(wanted),
        interruptible(),
        Journal(wanted.out / "journal.jsonl") as journal,
        open_workers(place, reporter) as pool,
    ):
        _same_cascade(models, wanted, journal)
        inputs = wanted.out / "inputs"
        if not is_recorded(inputs):
            _record(items, inputs, wanted, reporter)
        executor = pool if wanted.forward_on_workers else None
        record = Pass(Program(models, forward), inputs, reporter, executor)
        order = _first_pass(models, record, wanted, journal)
        runs: dict[str, RunResult] = {}
        try:
            for name in order:
                run = RunDir(wanted.out / name)
                if not is_recorded(run.data):
                    record.record(_folders(order, wanted), _most(wanted), [name])
                options = _sized(wanted.options[name], run, reporter)
                runs[name] = _quantized(options, verbs, reporter, _Lender(pool, journal))
                reporter.line(_summary(models[name], runs[name]))
                if wanted.upstream == "int8":
                    models[name].use(run.model)
        finally:
            for model in models:
                model.use(None)
    result = CascadeResult(out=wanted.out, order=order, runs=runs)
    _write(models, wanted, result)
    return result


@contextmanager
def _folder_of(wanted: Wanted) -> Iterator[None]:
    """The folder made or continued; of a cascade that turns out to be impossible, none is left."""
    fresh = _take_folder(wanted)
    try:
        yield
    except (ExecutionError, InterruptedRun):
        raise
    except Exception:  # whatever forward raises
        done = any(RunDir(options.out).finished for options in wanted.options.values())
        if fresh and wanted.items_again and not done:
            shutil.rmtree(wanted.out, ignore_errors=True)
        raise


def _record(items: Iterable[object], inputs: Path, wanted: Wanted, reporter: Reporter) -> None:
    try:
        record_inputs(items, inputs, wanted.items, reporter)
    except InputError:
        shutil.rmtree(wanted.out, ignore_errors=True)  # there is nothing else in it yet
        raise


def _first_pass(models: Models, record: Pass, wanted: Wanted, journal: Journal) -> tuple[str, ...]:
    """The models in order of their first call; with the samples of the first, or of all behind float ones."""
    known = journal.notes(_ORDER)
    if known:
        return tuple(known[-1]["names"])
    names = models.names if wanted.upstream == "float" else None
    order = record.record(_folders(models.names, wanted), _most(wanted), names)
    journal.note(_ORDER, names=list(order))
    return order


def _folders(names: Iterable[str], wanted: Wanted) -> dict[str, Path]:
    return {name: RunDir(wanted.out / name).data for name in names}


def _most(wanted: Wanted) -> dict[str, int | None]:
    """How many samples of each model are recorded: those that calibrate and those held out."""
    most: dict[str, int | None] = {}
    for name, options in wanted.options.items():
        held_out = DEFAULT_HOLDOUT if options.holdout is None else options.holdout
        most[name] = options.samples + held_out if options.samples else None
    return most


def _sized(options: CalibrateOptions, run: RunDir, reporter: Reporter) -> CalibrateOptions:
    """Options for the samples that reached a model: numbers that were asked for shrink to what there is."""
    count = len(RecordedSource(run.data, None))
    samples = min(options.samples or count, count)
    sizes = {"samples": samples}
    if options.holdout is not None:
        sizes["holdout"] = min(options.holdout, count - samples)
    if isinstance(options, TuneOptions) and "tune_samples" in options.model_fields_set:
        sizes["tune_samples"] = min(options.tune_samples, samples)
    asked = {name: getattr(options, name) for name in sizes if name in options.model_fields_set}
    if any(number > sizes[name] for name, number in asked.items()):
        facts = ", ".join(f"{name} {sizes[name]}" for name in asked)
        reporter.warn(f"{count} samples reach {run.path.name}: taken are {facts}")
    return options.model_copy(update={**sizes, "resume": run.run.exists()})


def _quantized(options: CalibrateOptions, verbs: Verbs, reporter: Reporter, lender: _Lender) -> RunResult:
    if isinstance(options, TuneOptions):
        return verbs.tune(options, reporter, lender)
    return verbs.calibrate(options, reporter, lender)


class _Lender:
    """Lends the workers of the cascade to one run."""

    def __init__(self, executor: Executor, journal: Journal) -> None:
        self._executor = executor
        self._journal = journal

    def lend(self, identity: Mapping[str, Any]) -> Executor:
        """All of them; nothing that they give is kept for another model."""
        del identity
        return SharingExecutor(self._executor, self._journal, "", ())


def _take_folder(wanted: Wanted) -> bool:
    """Make the folder; returns whether nothing of a cascade was in it."""
    out = wanted.out
    used = out.exists() and not (out.is_dir() and not any(out.iterdir()))
    begun = (out / "journal.jsonl").is_file() and not RunDir(out).run.exists()
    if used and not (wanted.resume and begun):
        raise out_is_taken(out, "cascade", begun=begun, resume="resume=True (--resume)")
    make_run_folder(out)
    return not used


def _same_cascade(models: Models, wanted: Wanted, journal: Journal) -> None:
    """Note what the cascade is, or compare it with what was begun.

    Raises:
        UsageError: the folder holds another.
    """
    ours = {"upstream": wanted.upstream, "models": {model.name: model.sha256 for model in models}}
    notes = journal.notes(_BEGUN)
    if not notes:
        journal.note(_BEGUN, **ours)
        return
    for field, value in ours.items():
        if notes[-1].get(field) != value:
            raise UsageError(f"{wanted.out} holds another cascade: its {field} differs; give another out")


def _summary(model: CascadeModel, result: RunResult) -> str:
    shown = result.holdout or result.tuning
    accuracy = None if shown is None else shown.after or shown.before
    closeness = "" if accuracy is None else f", {accuracy.sqnr_db:.2f} dB from float"
    return f"{model.name}: INT8 in {result.out}{closeness}"


def _write(models: Models, wanted: Wanted, result: CascadeResult) -> None:
    content = {
        "order": result.order,
        "upstream": wanted.upstream,
        "models": {model.name: {"path": str(model.path), "sha256": model.sha256} for model in models},
    }
    atomic_write(wanted.out / "cascade.json", (json.dumps(content, indent=1) + "\n").encode())
