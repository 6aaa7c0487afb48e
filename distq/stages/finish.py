"""The end of a run: its files, and one look at the held-out samples."""

from __future__ import annotations

from collections.abc import Iterator

from distq.engine.journal import Journal
from distq.errors import DistqError
from distq.files import atomic_write
from distq.graph.compared import compared_tensors
from distq.graph.predicted import predicted
from distq.instructions import has_exact_integer_kernels
from distq.replica.saturation import SATURATES
from distq.replica.speed import FEW_ROUNDS
from distq.replica.worker import WorkerSettings
from distq.run.auto_report import AutoReport
from distq.run.context import Run
from distq.run.figures import Speed
from distq.run.held_out import record_held_out
from distq.run.measures import first_sample, names_measures
from distq.run.records import close_run, run_record
from distq.run.results import Comparison, RunResult, SearchedLayer
from distq.run.speed import speed
from distq.stages.compare import compare_models, comparison, statistics
from distq.stages.far import far_from_float, few_samples, unlike_calibration
from distq.stages.form import Form
from distq.stages.kernels import float_layers, kernels_of_layers
from distq.stages.shares import lost_to_shares

LEAST_MICROSECONDS = 200
"""A network that takes less is made of little but the starts of its kernels."""


def finish(run: Run, before: Form, after: Form | None = None, report: AutoReport | None = None) -> RunResult:
    """Write the files, read the held-out samples once, and report.

    Args:
        run: whose folder gets the files.
        before: the form that ``calibrate`` exports.
        after: what a search made of it; None: there was none.
        report: of ``auto``, whose journal has searches of several networks.
    """
    final = before if after is None else after
    if after is not None:
        atomic_write(run.rundir.calibrated, before.table_bytes)
    atomic_write(run.rundir.thresholds, final.table_bytes)
    atomic_write(run.rundir.tensors, final.table_csv)
    run.rundir.write_model(final.exported)
    run.rundir.write_equalized(final.equalized())
    run.float_layers = list(float_layers(final.model, final.plan, final.exported))
    models = [run.share_reported(form.exported) for form in (before, after) if form is not None]
    tuned = None if after is None else 1
    found = compare_models(
        run, "compare on tuning samples", models, run.data, run.selection.tuning, measuring=run.measuring
    )
    tuning = comparison(found, 0, tuned, run.measuring)
    holdout: Comparison | None = None
    last, results = len(models) - 1, found
    if run.selection.holdout:
        stage = "compare on held-out samples"
        results = compare_models(
            run, stage, models, run.holdout_data, run.selection.holdout, measuring=run.measuring
        )
        holdout = comparison(results, 0, tuned, run.measuring)
        kept = run.readable(run.selection.holdout, run.holdout_data)
        record_held_out(run.journal, results, kept, run.measuring)
    timed = _speed(run, final) if run.options.report and run.alone else None
    shown, sums = (tuning, found) if holdout is None else (holdout, results)
    names = compared_tensors(final.model, indices=not names_measures(run.options))
    told = (
        *(far_from_float(final, shown, statistics(sums, last), names) if shown else ()),
        *few_samples(len(run.readable(run.selection.calibration))),
        *unlike_calibration(len(run.selection.calibration), tuning, holdout),
        *_slower_than_float(final),
        *_saturating(final),
    )
    for line in told:
        run.warn(line)
    if final.plan.target.weight_room == "pairs" and run.options.weight_bits == "auto":
        run.reporter.line(
            "weights are small enough that kernels of this processor do not saturate;"
            " for others: --weight-bits 8"
        )
    wanted = report is None and tuning is not None
    for line in lost_to_shares(run, final, statistics(found, last)) if wanted else ():
        run.warn(line)
    result = RunResult(
        out=run.rundir.path,
        files=(),
        holdout=holdout,
        tuning=tuning,
        cost=run.cost(),
        float_layers=tuple(run.float_layers),
        warnings=tuple(run.warnings),
        layers=tuple(_searched_layers(run.journal, final)),
        curve=final.curve,
        auto=report,
        integer_kernels=kernels_of_layers(final.model, final.plan, final.exported),
        speed=timed,
        ended=run.time.end,
    )
    close_run(run.rundir, {**run_record(run), "budget": final.budget, "search": final.search}, result)
    return result.model_copy(update={"files": run.rundir.files()})


def _speed(run: Run, final: Form) -> Speed | None:
    """The model timed beside float on this machine; None, with a warning, where that fails."""
    settings = WorkerSettings(run.executor.device, run.options.cpus_per_worker or 1)
    run.reporter.line("timing float and INT8 for the report")
    try:
        sample = first_sample(run.data, run.tuning)
        return speed(final.exported, run.loaded.serialized(), sample.inputs, settings, FEW_ROUNDS)
    except DistqError as error:
        run.warn(f"the report has no latency: {str(error).removeprefix('--speed: ')}")
        return None


def _slower_than_float(final: Form) -> Iterator[str]:
    """What to try where INT8 gains no time, by what its kernels are known to take."""
    times = predicted(final.model, final.plan)
    if times is None or times.in_float < LEAST_MICROSECONDS or times.int8 <= times.in_float:
        return
    ratio = times.int8 / times.in_float
    yield (
        f"the INT8 model is predicted to take {ratio:.1f} times as long as float on a CPU:"
        " 'distq eval --speed' measures it, --float-if-faster measured keeps in float what gains no time"
    )


def _saturating(final: Form) -> Iterator[str]:
    """What plain ONNX Runtime does on this processor with weights of 8 bits that the user asked for."""
    target = final.plan.target
    if target.name == "ort" and target.weight_room == "all" and not has_exact_integer_kernels():
        yield SATURATES


def _searched_layers(journal: Journal, form: Form) -> Iterator[SearchedLayer]:
    """What the search made of tensors, where it stands in the table: a later choice may have replaced it."""
    for note in journal.notes("layer"):
        row = form.table.get(note["name"])
        if note.get("search") == form.search and row is not None and row.threshold == note["threshold"]:
            yield SearchedLayer.model_validate(note)
