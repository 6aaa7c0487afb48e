"""The end of a run: its files, and one look at the held-out samples."""

from __future__ import annotations

import math
from collections.abc import Iterator

from distq.engine.journal import Journal
from distq.errors import DistqError, plural
from distq.files import atomic_write
from distq.graph.islands import is_depthwise
from distq.graph.network_cost import shares
from distq.graph.predicted import predicted
from distq.replica.speed import FEW_ROUNDS
from distq.replica.worker import WorkerSettings
from distq.run.auto_report import AutoReport
from distq.run.context import Run
from distq.run.figures import Speed
from distq.run.held_out import record_held_out
from distq.run.measures import first_sample
from distq.run.records import close_run, run_record
from distq.run.results import Comparison, RunResult, SearchedLayer
from distq.run.speed import speed
from distq.stages.compare import compare_models, comparison, statistics
from distq.stages.form import Form
from distq.stages.kernels import float_layers, kernels_of_layers
from distq.stages.shares import lost_to_shares

LEAST_MICROSECONDS = 200
"""A network that takes less is made of little but the starts of its kernels."""

LEAST_SQNR_DB = 15
"""Below that many decibels answers are seldom those of float."""

UNLIKE_DB = 10
"""From so many decibels on what calibration saw does not stand for other samples."""


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
        run, "compare on tuning images", models, run.data, run.selection.tuning, measuring=run.measuring
    )
    tuning = comparison(found, 0, tuned, run.measuring)
    holdout: Comparison | None = None
    if run.selection.holdout:
        stage = "compare on held-out images"
        results = compare_models(
            run, stage, models, run.holdout_data, run.selection.holdout, measuring=run.measuring
        )
        holdout = comparison(results, 0, tuned, run.measuring)
        kept = run.readable(run.selection.holdout, run.holdout_data)
        record_held_out(run.journal, results, kept, run.measuring)
    timed = _speed(run, final) if run.options.report and run.alone else None
    told = (
        *_far_from_float(final, holdout or tuning),
        *_unlike_calibration(len(run.selection.calibration), tuning, holdout),
        *_slower_than_float(final),
    )
    for line in told:
        run.warn(line)
    wanted = report is None and tuning is not None
    for line in lost_to_shares(run, final, statistics(found, len(models) - 1)) if wanted else ():
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


def _far_from_float(final: Form, found: Comparison | None) -> Iterator[str]:
    """What to try where the INT8 model is too far from float to be of use."""
    accuracy = None if found is None else found.after or found.before
    if accuracy is None or accuracy.sqnr_db is None or accuracy.sqnr_db >= LEAST_SQNR_DB:
        return
    target = final.plan.target
    tries = ["'distq diff --sensitivity' names what costs most", "tune with --float-budget keeps it in float"]
    tries += filter(None, [_depthwise(final)])
    if 16 in target.activation_bits:
        tries.append("or --int16-budget gives it 16 bits")
    if target.placement == "everywhere":
        tries.append("--target openvino rounds fewer tensors, for runtimes that take it")
    yield f"the INT8 model is {accuracy.sqnr_db:.1f} dB from float, under {LEAST_SQNR_DB}: {'; '.join(tries)}"


def _unlike_calibration(samples: int, tuning: Comparison | None, holdout: Comparison | None) -> Iterator[str]:
    """What to try where samples that were held out show that the others were too few."""
    seen, unseen = (None if c is None else (c.after or c.before).sqnr_db for c in (tuning, holdout))
    if seen is None or unseen is None or not seen - unseen >= UNLIKE_DB:
        return
    yield (
        f"held-out samples are {seen - unseen:.0f} dB further from float than calibration samples: "
        f"they go beyond what {plural(samples, 'sample')} showed; calibrate with more, or with such samples"
    )


def _depthwise(final: Form) -> str:
    """What ``--float-depthwise`` would keep in float, or nothing: one scale is for unlike channels there."""
    quantized = {layer.node for layer in final.plan.layers}
    layers = [n.name or "" for n in final.model.graph if n.name in quantized and is_depthwise(n)]
    parts = shares(final.model)
    part = math.fsum(parts[name] for name in layers)
    which = f"{plural(len(layers), 'layer')} in float, {part:.1%} of the multiplications"
    return f"--float-depthwise keeps {which}" if layers else ""


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


def _searched_layers(journal: Journal, form: Form) -> Iterator[SearchedLayer]:
    """What the search made of tensors, where it stands in the table: a later choice may have replaced it."""
    for note in journal.notes("layer"):
        row = form.table.get(note["name"])
        if note.get("search") == form.search and row is not None and row.threshold == note["threshold"]:
            yield SearchedLayer.model_validate(note)
