"""What ``distq auto`` answers, as a report and as files."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Sequence
from dataclasses import replace

from distq.exchange.formats import Request
from distq.exchange.network import describe
from distq.exchange.own import of_rows
from distq.exchange.qtable import FLOAT, QTABLE
from distq.files import atomic_write
from distq.graph.rows import full_table
from distq.run.auto_report import AutoReport, Reason, TriedNetwork, price_of
from distq.run.chosen_job import chosen_job
from distq.run.context import Run
from distq.search.goal import Goal
from distq.search.metrics import decibels
from distq.stages.cheapest import Explored
from distq.stages.form import Form
from distq.stages.kernels import float_layers
from distq.stages.trial import Trial
from distq.stages.trials import Trials


def report_of(goal: Goal, text: str, cost: str, trials: Trials, found: Explored) -> AutoReport:
    """The report on all that was tried.

    Args:
        goal: that was to be met.
        text: as it was given.
        cost: what was to be small.
        trials: all that were measured.
        found: what the search learned.
    """
    chosen = found.answer
    front = _front(trials)
    return AutoReport(
        goal=text,
        measure=goal.judge.name,
        cost=cost,
        reached=chosen.met,
        complete=found.complete,
        chosen=chosen.name,
        command=chosen.made.candidate.command,
        tried=tuple(_tried(goal, trial, pareto=trial in front) for trial in trials.every),
        reasons=tuple(_reasons(found)),
        obstacles=found.obstacles,
        not_made=dict(found.not_made),
    )


def write_answer(run: Run, chosen: Trial, report: AutoReport) -> None:
    """Write the job file, the Pareto table and TPU-MLIR's qtable."""
    made = chosen.made
    job = chosen_job(made.options, made.candidate.command, tuning=len(run.selection.tuning))
    atomic_write(run.rundir.chosen_job, job)
    atomic_write(run.rundir.pareto, _pareto_table(report))
    atomic_write(run.rundir.qtable, _qtable(run, made.form))


def _front(trials: Trials) -> list[Trial]:
    """Networks that no other beats, the cheapest first."""
    front: list[Trial] = []
    whole = [trial for trial in trials.every if not trial.dropped]
    for trial in sorted(whole, key=lambda t: (trials.price(t)[0], t.loss)):
        if not front or trial.loss < front[-1].loss:
            front.append(trial)
    return front


def _tried(goal: Goal, trial: Trial, *, pareto: bool) -> TriedNetwork:
    reading = goal.judge.reading(trial.loss)
    candidate = trial.made.candidate
    names = [*candidate.changes]
    names += ["equalize", "effort"] * (candidate.evened and not candidate.tuned)
    names += ["int16_layers"] * bool(candidate.choice.int16)
    names += ["float_layers"] * bool(candidate.choice.float_layers)
    options = trial.made.options.model_dump(mode="json", include=set(names))
    return TriedNetwork(
        name=candidate.name,
        options={name: options[name] for name in names},
        searched=candidate.tuned,
        reading=reading if math.isfinite(reading) else None,
        samples=trial.samples,
        met=trial.met,
        dropped=trial.dropped,
        macs=trial.cost.macs,
        layers=trial.cost.layers,
        float_layers=trial.cost.float_layers,
        wide_layers=trial.cost.wide_layers,
        latency_ms=trial.latency,
        pareto=pareto,
    )


def _reasons(found: Explored) -> list[Reason]:
    """Of what was chosen, the most needed first."""
    island, chosen = found.island, found.answer.made.options.float_layers
    reasons = []
    if island is not None and {*island.layers} <= {*chosen}:
        name = ", ".join(island.layers)
        reasons.append(Reason(name=name, kind="float", without_sqnr_db=None, text=island.text))
    for item, error in sorted(found.without.items(), key=lambda pair: -pair[1]):
        kind, sqnr = ("16 bits" if item.int16 else "float"), decibels(error)
        text = f"{kind} for {item.name}: in 8 bits it would leave {sqnr:.1f} dB of the outputs, by estimate"
        known = sqnr if math.isfinite(sqnr) else None
        reasons.append(Reason(name=item.name, kind=kind, without_sqnr_db=known, text=text))
    return reasons


def _pareto_table(report: AutoReport) -> bytes:
    """Measure against cost, a line a network, the cheapest first."""
    written = io.StringIO()
    table = csv.writer(written, lineterminator="\n")
    costs = ["macs_not_int8", "layers_not_int8", "latency_ms"]
    table.writerow(["network", report.measure, *costs, "meets", "pareto", "chosen", "samples"])
    for one in sorted(report.tried, key=lambda one: price_of(one, report.cost)):
        reading = "inf" if one.reading is None else f"{one.reading:.6g}"
        latency = "" if one.latency_ms is None else f"{one.latency_ms:.6g}"
        flags = [int(one.met), int(one.pareto), int(one.name == report.chosen)]
        table.writerow([one.name, reading, f"{one.macs:.6g}", one.layers, latency, *flags, one.samples])
    return written.getvalue().encode()


def _qtable(run: Run, form: Form) -> bytes:
    """The layers that are not in INT8, for TPU-MLIR."""
    names: Sequence[str] = [layer.name for layer in float_layers(form.model, form.plan, form.exported)]
    table = replace(of_rows(full_table(form.plan, form.table)), modes=dict.fromkeys(names, FLOAT))
    network = describe(run.loaded.path, weights=False, read=run.loaded.read)
    return QTABLE.write(Request(table, network=network))
