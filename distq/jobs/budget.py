"""A budget of better layers: 16 bits for the worst activations, float for the worst layers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from distq.config import TuneOptions
from distq.errors import UsageError
from distq.graph.plan import Plan
from distq.graph.qdq import export
from distq.graph.rows import with_threshold
from distq.graph.state import State
from distq.jobs.calibrate import Outcome, corrected_state
from distq.jobs.compare import accuracy, compare_models, tuning_diffs
from distq.jobs.context import Job
from distq.jobs.results import CurvePoint
from distq.jobs.thresholds import full_table, given_table
from distq.jobs.worst import Choice, worst
from distq.quant.table import Table
from distq.search.metrics import mean_over_images
from distq.targets import find_target


def require_budget(options: TuneOptions) -> None:
    """Find out before anything is computed whether the budgets can be spent.

    Raises:
        UsageError: they cannot.
    """
    if options.int16_budget:
        find_target(options.target).require_16_bits()
    if wants_budget(options) and options.strategy != "default":
        raise UsageError(
            "--int16-budget and --float-budget need --strategy default: the other strategies know 8 bits only"
        )


def wants_budget(options: TuneOptions) -> bool:
    """Whether there is a budget to spend."""
    return options.int16_budget + options.float_budget > 0


def spend(job: Job, options: TuneOptions, table: Table, state: State) -> tuple[Job, Table, State, Choice]:
    """The job with its budgets spent on what costs most inside the INT8 network, and corrected for it.

    Raises:
        UsageError: the budget would leave no layer in INT8.
    """
    if not wants_budget(options):
        return job, table, state, Choice()
    if options.float_budget >= len(job.plan.layers):
        count = len(job.plan.layers)
        raise UsageError(
            f"--float-budget {options.float_budget} leaves none of the model's {count} layers in INT8"
        )
    choice, outcome_job, rows, corrected = best_choice(job, options, table, state)
    return outcome_job, rows, corrected, choice


def best_choice(
    job: Job, options: TuneOptions, table: Table, state: State
) -> tuple[Choice, Job, Table, State]:
    """Of the choices by either measure, the one closest to float on the tuning images, corrected for it."""
    found = []
    for choice in worst(job, options, state):
        better, rows = with_choice(job, table, choice)
        found.append((choice, better, rows, corrected_state(better, rows)))
    models = [export(j.loaded.model, j.plan, numbers) for _, j, _, numbers in found]
    best = found[closest_on_tuning(job, models) if len(models) > 1 else 0]
    shown = best[0].in_effect(job)
    for label, names in (("16 bits", shown.int16), ("float", shown.float_layers)):
        if names:
            job.reporter.line(f"{label} for {', '.join(names)}")
    return best


def with_choice(job: Job, table: Table, choice: Choice) -> tuple[Job, Table]:
    """The job with a plan that makes these better; what has 16 bits gets its whole observed range."""
    plan = choice.plan(job)
    rows = given_table(plan, full_table(job.plan, table))
    for quantizer in plan.quantizers:
        row = rows[quantizer.name]
        if quantizer.bits == 16 and row.absmax > 0:
            rows[quantizer.name] = with_threshold(plan, quantizer, row, row.absmax, "max")
    return replace(job, plan=plan), rows


def reconsider(base: Job, options: TuneOptions, start: Table, choice: Choice, found: Outcome) -> Outcome:
    """Choose again with the thresholds the search found; keep whichever is closer to float on tuning images.

    Also measures the curve: the network corrected with 0, 1, 2 and so on of what was chosen.

    Args:
        base: the job before anything was chosen.
        options: with the budgets.
        start: the table the search started from, for ``base``.
        choice: what was chosen before the search.
        found: what the search made of it.
    """
    if not wants_budget(options):
        return found
    table = _without_choice(base.plan, start, found.table)
    state = corrected_state(base, table)
    again, job, rows, numbers = best_choice(base, options, table, state)
    if again.same_as(choice):
        base.reporter.line("the search left the choice as it was")
    else:
        other = Outcome(job.plan, rows, export(job.loaded.model, job.plan, numbers))
        better = closest_on_tuning(base, [found.model, other.model]) == 1
        found, choice = (other, again) if better else (found, choice)
        base.reporter.line(
            f"chosen again after the search: {'the new' if better else 'the first'} choice stays"
        )
    models = [export(base.loaded.model, base.plan, state)]
    for count in range(1, len(choice)):
        job, rows = with_choice(base, table, choice.first(count))
        models.append(export(job.loaded.model, job.plan, corrected_state(job, rows)))
    firsts = [choice.first(count) for count in range(len(models) + 1)]
    return replace(found, curve=curve(base, firsts, [*models, found.model]))


def curve(job: Job, choices: Sequence[Choice], models: Sequence[bytes]) -> tuple[CurvePoint, ...]:
    """What each choice leaves on the tuning images, by the model made with it."""
    blobs = [job.executor.share(model) for model in models]
    results = compare_models(job, "curve of the budget", blobs, job.data, job.selection.tuning)
    points = []
    for position, choice in enumerate(choices):
        figures = accuracy(results, position)
        points.append(
            CurvePoint(
                budget=len(choice),
                int16=choice.in_effect(job).int16,
                float_layers=choice.float_layers,
                nmse=figures.nmse,
                sqnr_db=figures.sqnr_db,
            )
        )
    return tuple(points)


def _without_choice(plan: Plan, start: Table, found: Table) -> Table:
    """A table for the plan before anything was chosen: thresholds as found where they were searched."""
    table = dict(start)
    for quantizer in plan.quantizers:
        row = found.get(quantizer.name)
        if row is not None and row.bits == quantizer.bits:
            table[quantizer.name] = with_threshold(
                plan, quantizer, start[quantizer.name], row.threshold, row.method
            )
    return table


def closest_on_tuning(job: Job, models: Sequence[bytes]) -> int:
    """Which model is closest to float on the tuning images; of equals the first."""
    scores = [mean_over_images(diff) for diff in tuning_diffs(job, "compare choices", models)]
    return min(range(len(scores)), key=lambda i: (scores[i], i))
