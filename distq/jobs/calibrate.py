"""``distq calibrate``.

Distributions, thresholds, bias correction, the INT8 model, and how close it is to float.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from distq.calibration.distributions import DistributionSet
from distq.config import CalibrateOptions, TuneOptions, require_bins
from distq.data.dataset import DatasetSpec, Manifest, manifest
from distq.data.shards import Selection
from distq.engine.collector import loaded_set_aside
from distq.engine.executor import Executor
from distq.engine.journal import Journal
from distq.engine.progress import Reporter
from distq.errors import DataError, InputError, UsageError
from distq.files import atomic_write
from distq.graph.heads import parts, with_places
from distq.graph.load import LoadedModel, load_model
from distq.graph.plan import Plan, make_plan
from distq.graph.qdq import export
from distq.graph.resolve import resolve_names
from distq.graph.state import State, initial_state
from distq.jobs.compare import compare_models, comparison
from distq.jobs.context import Job, choose_samples, data_spec, identity, interruptible, open_workers, versions
from distq.jobs.correct import correct_together, float_means
from distq.jobs.kernels import float_layers
from distq.jobs.observe import load_distributions, observe
from distq.jobs.results import Comparison, CurvePoint, RunResult, SearchedLayer
from distq.jobs.rundir import RunDir
from distq.jobs.shared import SharedWork
from distq.jobs.thresholds import calibrated_table, encodings, full_table, given_table
from distq.quant.table import Table, dump_table, read_table
from distq.targets import find_target


def calibrate(options: CalibrateOptions, reporter: Reporter, shared: SharedWork | None = None) -> RunResult:
    """Calibrate a model, on its own workers or on those of a sweep.

    Raises:
        InputError: what was given cannot be used; nothing was written.
        ExecutionError: it failed while running; finished work is in the journal.
        InterruptedRun: Ctrl-C.
    """
    if options.load_dist is not None and options.data is None:
        return thresholds_only(options, reporter)
    with interruptible(), open_job(options, "calibrate", reporter, shared) as found:
        if isinstance(found, RunResult):
            return found
        job = found
        table, state = calibrated(job)
        model = export(job.loaded.model, job.plan, state)
        return finish(job, Outcome(job.plan, table, model), None)


def calibrated(job: Job) -> tuple[Table, State]:
    """Thresholds by the method or from the given table, weights rounded, biases corrected."""
    table = starting_table(job)
    for quantizer in job.plan.quantizers:
        row = table[quantizer.name]
        if row.absmax == 0:
            job.warn(f"tensor {quantizer.name} is zero in every sample: it gets threshold {row.threshold:g}")
    return table, corrected_state(job, table)


def corrected_state(job: Job, table: Table) -> State:
    """Weights and biases for a table's thresholds."""
    return corrected_states([(job, table)])[0]


def corrected_states(cases: Sequence[tuple[Job, Table]]) -> list[State]:
    """Weights and biases for the thresholds of tables; all are forms of one run's network."""
    plain = [initial_state(job.loaded.model, job.plan, encodings(table)) for job, table in cases]
    means = [float_means(job) for job, _ in cases]  # also without correction: it finds what cannot be decoded
    if not cases[0][0].options.bias_correction:
        return plain
    jobs = [job for job, _ in cases]
    return correct_together(list(zip(jobs, plain, means, strict=True)))


def starting_table(job: Job) -> Table:
    """The table a run starts from: given, from a distribution file, or from the calibration samples."""
    options = job.options
    if options.table is not None:
        return given_table(job.plan, read_table(options.table))
    wanted = distribution_identity(job)
    if options.load_dist is not None:
        job.distributions = load_distributions(options.load_dist, wanted)
    else:
        job.distributions = observe(job)
    kept = DistributionSet(job.distributions, wanted)
    kept.save(job.rundir.distributions)
    if options.dump_dist is not None:
        kept.save(options.dump_dist)
    return calibrated_table(job.plan, job.distributions, options.method, options.bins)


@dataclass(frozen=True)
class Outcome:
    """A table, the plan it is for, the model exported with it, and the curve of a budget."""

    plan: Plan
    table: Table
    model: bytes
    curve: tuple[CurvePoint, ...] = ()

    @property
    def budget(self) -> dict[str, tuple[str, ...]]:
        """What a budget was spent on."""
        if not self.curve:
            return {"int16": (), "float_layers": ()}
        return {"int16": self.curve[-1].int16, "float_layers": self.curve[-1].float_layers}

    @property
    def table_bytes(self) -> bytes:
        """Content of ``thresholds.json``."""
        return dump_table(full_table(self.plan, self.table))


def finish(job: Job, before: Outcome, after: Outcome | None) -> RunResult:
    """Write the files, read the held-out samples once, and report."""
    final = before if after is None else after
    if after is not None:
        atomic_write(job.rundir.calibrated, before.table_bytes)
    atomic_write(job.rundir.thresholds, final.table_bytes)
    atomic_write(job.rundir.model, final.model)
    job.float_layers = list(float_layers(final.plan, final.model))
    models = [job.executor.share(o.model) for o in (before, after) if o is not None]
    tuned = None if after is None else 1
    tuning = comparison(
        compare_models(job, "compare on tuning images", models, job.data, job.selection.tuning), 0, tuned
    )
    holdout: Comparison | None = None
    if job.selection.holdout:
        holdout = comparison(
            compare_models(
                job, "compare on held-out images", models, job.holdout_data, job.selection.holdout
            ),
            0,
            tuned,
        )
    result = RunResult(
        out=job.rundir.path,
        files=(),
        holdout=holdout,
        tuning=tuning,
        cost=job.cost(),
        float_layers=tuple(job.float_layers),
        warnings=tuple(job.warnings),
        layers=tuple(searched_layers(job.journal, final.table)),
        curve=final.curve,
    )
    job.rundir.write_json(job.rundir.run, {**run_record(job), "budget": final.budget})
    write_metrics(job.rundir, result)
    return result.model_copy(update={"files": job.rundir.files()})


def searched_layers(journal: Journal, table: Table) -> Iterator[SearchedLayer]:
    """What the search made of tensors, where it stands in the table: a later choice may have replaced it."""
    for note in journal.notes("layer"):
        row = table.get(note["name"])
        if row is not None and row.threshold == note["threshold"]:
            yield SearchedLayer.model_validate(note)


@contextmanager
def open_job(
    options: CalibrateOptions, command: str, reporter: Reporter, shared: SharedWork | None = None
) -> Iterator[Job | RunResult]:
    """Check everything, take the run folder, start or borrow workers; or give the result of a finished run.

    What this call wrote is removed again when the input turns out to be unusable, unless a search has begun.
    """
    started = time.monotonic()
    loaded, plan = prepare_model(options)
    data, holdout_data, selection = prepare_data(options, loaded)
    rundir = RunDir(options.out)
    manifests = manifest(data, selection.calibration), manifest(holdout_data, selection.holdout)
    job_identity = identity(options=options, command=command, loaded=loaded, data=data, manifests=manifests)
    existed = rundir.path.exists()
    made = rundir.claim(job_identity, resume=options.resume)
    if rundir.finished:
        yield read_result(rundir)
        return
    try:
        with Journal(rundir.journal) as journal, ExitStack() as stack:
            rundir.remove_leftovers()
            executor: Executor
            executor = open_workers(options, reporter) if shared is None else shared.lend(job_identity)
            stack.enter_context(executor)
            stack.enter_context(loaded_set_aside())
            places = parts(loaded.model, plan)
            job = Job(
                options,
                reporter,
                rundir,
                loaded,
                plan,
                data,
                selection,
                holdout_data,
                journal,
                executor,
                started,
                executor.share(loaded.serialized()),
                executor.share(with_places(loaded.serialized(), places)),
                manifests,
                places,
            )
            try:
                yield job
            except InputError:
                made = made and not journal.notes("layer")
                raise
            journal.remove_parts()
    except InputError:
        if made:
            rundir.discard(keep_folder=existed)
        raise


def prepare_model(options: CalibrateOptions) -> tuple[LoadedModel, Plan]:
    """Load the model and place its quantizers; wrong options are found before anything is computed."""
    require_bins(options.bins)
    if options.table is not None and options.load_dist is not None:
        raise UsageError("--table and --load-dist both give thresholds: leave one out")
    if options.dump_dist is not None:
        require_writable(options, options.dump_dist)
    loaded = load_model(options.model)
    bitmain = isinstance(options, TuneOptions) and options.strategy == "bitmain"
    target = find_target(options.target)
    plan = make_plan(loaded.model, target, options.scheme, tie=not bitmain)
    if options.int16_layers:
        wide = resolve_names(loaded.model, plan, options.int16_layers, "--int16-layers")
        plan = make_plan(loaded.model, target, options.scheme, tie=not bitmain, int16=wide)
    if options.table is not None:
        given_table(plan, read_table(options.table))
    return loaded, plan


def require_writable(options: CalibrateOptions, dump: Path) -> None:
    """Find out early whether there will be distributions to dump, and a place for them.

    Raises:
        UsageError: there will not.
    """
    if options.table is not None:
        raise UsageError("--table leaves nothing to observe for --dump-dist: leave one out")
    if dump.is_dir() or not dump.parent.is_dir():
        raise UsageError(f"--dump-dist {dump} cannot be written: give a file in a folder that exists")


def prepare_data(
    options: CalibrateOptions, loaded: LoadedModel
) -> tuple[DatasetSpec, DatasetSpec, Selection]:
    """Open the data and give the samples their roles."""
    if options.data is None:
        raise UsageError("--data is missing: give a folder, a list, an LMDB or an .npz of samples")
    data = data_spec(options, options.data, loaded.model, options.preprocess, options.labels)
    holdout_data = data
    if options.holdout_data is not None:
        holdout_data = data_spec(options, options.holdout_data, loaded.model, options.preprocess, None)
    tune_samples = options.tune_samples if isinstance(options, TuneOptions) else None
    return data, holdout_data, choose_samples(options, data, holdout_data, tune_samples)


def thresholds_only(options: CalibrateOptions, reporter: Reporter) -> RunResult:
    """``--load-dist`` without ``--data``: thresholds from the file, and no model."""
    started = time.monotonic()
    loaded, plan = prepare_model(options)
    if options.load_dist is None:
        raise UsageError("--data is missing")
    kept = DistributionSet.load(options.load_dist)
    if kept.identity.get("model") != loaded.sha256:
        raise DataError(
            f"{options.load_dist} is of another model: gather those of {options.model} with --dump-dist"
        )
    table = calibrated_table(plan, kept.tensors, options.method, options.bins)
    rundir = RunDir(options.out)
    fields = {
        "command": "calibrate",
        "model": loaded.sha256,
        "method": options.method,
        "bins": options.bins,
        "scheme": options.scheme,
        "target": options.target,
        "int16_layers": list(options.int16_layers),
        "distributions": kept.identity,
    }
    rundir.claim(fields, resume=options.resume)
    if rundir.finished:
        return read_result(rundir)
    atomic_write(rundir.thresholds, dump_table(full_table(plan, table)))
    reporter.line(f"wrote {rundir.thresholds}; no --data was given, so no model")
    cost = {
        "fp32_forwards": 0.0,
        "int8_forwards": 0.0,
        "seconds": round(time.monotonic() - started, 3),
        "workers": 0,
        "peak_rss_mb": 0.0,
    }
    result = RunResult.model_validate(
        {"out": rundir.path, "files": (), "holdout": None, "tuning": None, "cost": cost}
    )
    write_metrics(rundir, result)
    return result.model_copy(update={"files": rundir.files()})


def distribution_identity(job: Job) -> dict[str, str]:
    """What a distribution file belongs to."""
    own, _ = job.manifests
    return {
        "model": job.loaded.sha256,
        "data set": own.sha256,
        "samples": str(own.selected),
        "preprocessing": str(job.data.describe_preprocessing()),
    }


def run_record(job: Job) -> dict[str, Any]:
    """Content of ``run.json`` at the end."""
    options = job.options.model_dump(mode="json")
    return {
        "job": job.rundir.identity(),
        "options": options,
        "device": job.executor.device,
        "versions": versions(),
        "model": {"path": str(job.loaded.path), "sha256": job.loaded.sha256},
        "data": described(job.data, job.manifests[0]),
        "holdout": described(job.holdout_data, job.manifests[1]),
        "preprocessing": job.data.describe_preprocessing(),
        "plugin_sha256": job.data.plugin_sha256,
        "integer_instructions": job.rundir.identity().get("integer_instructions"),
        "skipped_samples": sorted([source, index] for source, index in job.skipped),
        "float_layers": [layer.model_dump() for layer in job.float_layers],
        "warnings": job.warnings,
        "units": {"ran": job.tally.ran, "recalled": job.tally.recalled},
    }


def described(data: DatasetSpec, samples: Manifest) -> dict[str, Any]:
    """The manifest of samples, and what each node copied of their source."""
    staged = {} if data.stage is None else {"staged": asdict(data.stage)}
    return {**asdict(samples), **staged}


def write_metrics(rundir: RunDir, result: RunResult) -> None:
    """Write ``metrics.json``; the run counts as finished from here on."""
    tune_only = {name for name in ("layers", "curve") if getattr(result, name)}
    included = {"holdout", "tuning", "cost", "float_layers", "warnings", *tune_only}
    content = json.loads(result.model_dump_json(include=included))  # JSON has no infinity: null
    if content["cost"]["search"] is None:
        del content["cost"]["search"]
    rundir.write_json(rundir.metrics, content)


def read_result(rundir: RunDir) -> RunResult:
    """The result of a finished run."""
    content = rundir.read_metrics()
    return RunResult.model_validate({"out": rundir.path, "files": rundir.files(), **content})
