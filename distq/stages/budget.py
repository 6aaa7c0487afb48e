"""A budget of better layers: 16 bits for the worst activations, float for the worst layers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from distq.config import TuneOptions
from distq.errors import UsageError
from distq.graph.rows import full_table, given_table, with_threshold
from distq.quant.table import Table
from distq.run.context import Run
from distq.run.results import CurvePoint
from distq.stages.compare import accuracy, closest, compare_models
from distq.stages.correct import corrected
from distq.stages.form import Choice, Form
from distq.stages.worst import worst
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


def spend(run: Run, options: TuneOptions, form: Form) -> Form:
    """The form with the budgets spent on what costs most inside the INT8 network, and corrected for it.

    Raises:
        UsageError: the budget would leave no layer in INT8.
    """
    if not wants_budget(options):
        return form
    if options.float_budget >= len(form.plan.layers):
        count = len(form.plan.layers)
        raise UsageError(
            f"--float-budget {options.float_budget} leaves none of the model's {count} layers in INT8: "
            "give less"
        )
    return best_choice(run, options, form)


def best_choice(run: Run, options: TuneOptions, form: Form) -> Form:
    """Of the choices by either measure, the one closest to float on the tuning samples, corrected for it."""
    found = [corrected(run, with_choice(form, choice)) for choice in worst(run, options, form)]
    best = closest(run, found) if len(found) > 1 else found[0]
    shown = form.in_effect(best.choice)
    for label, names in (("16 bits", shown.int16), ("float", shown.float_layers)):
        if names:
            run.reporter.line(f"{label} for {', '.join(names)}")
    return best


def with_choice(form: Form, choice: Choice) -> Form:
    """The form with a plan that makes these better; what has 16 bits gets its whole observed range."""
    plan = form.plan_with(choice)
    rows = given_table(plan, full_table(form.plan, form.table))
    for quantizer in plan.quantizers:
        row = rows[quantizer.name]
        if quantizer.bits == 16 and row.absmax > 0 and quantizer.setting is None:
            rows[quantizer.name] = with_threshold(plan, quantizer, row, row.absmax, "max")
    return replace(form, plan=plan, table=rows, choice=choice)


def reconsider(run: Run, options: TuneOptions, start: Form, found: Form) -> Form:
    """Choose again with the thresholds the search found; keep whichever is closer to float on tuning samples.

    Also measures the curve: the network corrected with 0, 1, 2 and so on of what was chosen.

    Args:
        run: gives workers and samples.
        options: with the budgets.
        start: the form before anything was chosen.
        found: what was chosen, and what the search made of it.
    """
    if not wants_budget(options):
        return found
    base = corrected(run, replace(start, table=_without_choice(start, found)))
    again = best_choice(run, options, base)
    if again.choice.same_as(found.choice):
        run.reporter.line("the search left the choice as it was")
    else:
        better = closest(run, [found, again])
        stays = "the new" if better is again else "the first"
        found = better
        run.reporter.line(f"chosen again after the search: {stays} choice stays")
    partly = [found.choice.first(count) for count in range(1, len(found.choice))]
    forms = [base, *(corrected(run, with_choice(base, choice)) for choice in partly)]
    firsts = [found.choice.first(count) for count in range(len(forms) + 1)]
    return replace(found, curve=curve(run, start, firsts, [*forms, found]))


def curve(run: Run, start: Form, choices: Sequence[Choice], forms: Sequence[Form]) -> tuple[CurvePoint, ...]:
    """What each choice leaves on the tuning samples, by the form made with it.

    Args:
        run: gives workers and samples.
        start: the form that the choices were made for.
        choices: what was made better.
        forms: of each choice.
    """
    blobs = [run.share_reported(form.exported) for form in forms]
    results = compare_models(run, "curve of the budget", blobs, run.data, run.selection.tuning)
    points = []
    for position, choice in enumerate(choices):
        figures = accuracy(results, position)
        points.append(
            CurvePoint(
                budget=len(choice),
                int16=start.in_effect(choice).int16,
                float_layers=choice.float_layers,
                nmse=figures.nmse,
                sqnr_db=figures.sqnr_db,
            )
        )
    return tuple(points)


def _without_choice(start: Form, found: Form) -> Table:
    """A table for the plan before anything was chosen: thresholds as found where they were searched."""
    table = dict(start.table)
    for quantizer in start.plan.quantizers:
        row = found.table.get(quantizer.name)
        if row is not None and row.bits == quantizer.bits:
            own = start.table[quantizer.name]
            table[quantizer.name] = with_threshold(start.plan, quantizer, own, row.threshold, row.method)
    return table
