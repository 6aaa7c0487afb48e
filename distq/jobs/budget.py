"""A budget of better layers: 16 bits for the worst activations, float for the worst layers."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from distq.config import TuneOptions, require_16_bits
from distq.errors import UsageError
from distq.graph.plan import Plan, make_plan
from distq.graph.qdq import export
from distq.graph.state import State
from distq.graph.variants import FloatPart
from distq.jobs.calibrate import Outcome, corrected_state
from distq.jobs.compare import accuracy, compare_models, image_diffs
from distq.jobs.context import Job
from distq.jobs.results import CurvePoint
from distq.jobs.sensitivity import IMAGES, Variants
from distq.jobs.thresholds import full_table, given_table, with_threshold
from distq.quant.table import Table
from distq.search.metrics import mean_over_images

REMEASURED = 8
"""What is measured again for each further choice: the worst of the first measurement."""


@dataclass(frozen=True)
class Choice:
    """What is better than 8 bit, worst first: quantizers with 16 bits, layers in float."""

    int16: tuple[str, ...] = ()
    float_layers: tuple[str, ...] = ()

    def first(self, count: int) -> Choice:
        """The first ``count``, 16 bits before float."""
        return Choice(self.int16[:count], self.float_layers[: max(0, count - len(self.int16))])

    def __len__(self) -> int:
        """How many were chosen."""
        return len(self.int16) + len(self.float_layers)

    def same_as(self, other: Choice) -> bool:
        """Whether both chose the same, in any order."""
        return set(self.int16) == set(other.int16) and set(self.float_layers) == set(other.float_layers)


def require_budget(options: TuneOptions) -> None:
    """Find out before anything is computed whether the budgets can be spent.

    Raises:
        UsageError: they cannot.
    """
    require_16_bits(options.target, wanted=options.int16_budget > 0)
    if wants_budget(options) and options.strategy != "default":
        raise UsageError(
            "--int16-budget and --float-budget need --strategy default: the serial tuner knows 8 bits only"
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
    choice = choose(job, options, state)
    better, table = with_choice(job, table, choice)
    return better, table, corrected_state(better, table), choice


def choose(job: Job, options: TuneOptions, state: State) -> Choice:
    """Worst first, each measured with all chosen before it out of the way."""
    plan, variants = job.plan, Variants(job, state, IMAGES)

    def without_tensors(names: Sequence[str]) -> FloatPart:
        return variants.part({t for q in plan.quantizers if q.name in names for t in q.tensors})

    narrow = [q.name for q in plan.quantizers if q.bits == 8]
    int16 = _greedy(variants, "16 bits", narrow, options.int16_budget, without_tensors)

    def without_layers(names: Sequence[str]) -> FloatPart:
        left = _plan(job, Choice(int16, tuple(names))).by_tensor
        wide = {t for q in plan.quantizers if q.name in int16 for t in q.tensors}
        gone = (plan.by_tensor.keys() - left.keys()) | wide
        return variants.part(gone, [layer for layer in plan.layers if layer.name in names])

    layers = [layer.name for layer in plan.layers]
    float_layers = _greedy(variants, "float", layers, options.float_budget, without_layers)
    choice = Choice(int16, float_layers)
    for label, names in (("16 bits", int16), ("float", float_layers)):
        if names:
            job.reporter.line(f"{label} for {', '.join(names)}")
    return choice


def _greedy(
    variants: Variants,
    label: str,
    names: Sequence[str],
    budget: int,
    part: Callable[[Sequence[str]], FloatPart],
) -> tuple[str, ...]:
    chosen: list[str] = []
    candidates = list(names)
    while candidates and len(chosen) < budget:
        errors = variants.nmse(f"choose what gets {label}", [part([*chosen, name]) for name in candidates])
        ranked = [name for _, _, name in sorted(zip(errors, range(len(errors)), candidates, strict=True))]
        chosen.append(ranked[0])
        candidates = ranked[1 : 1 + max(REMEASURED, budget - len(chosen))]
    return tuple(chosen)


def with_choice(job: Job, table: Table, choice: Choice) -> tuple[Job, Table]:
    """The job with a plan that makes these better; what has 16 bits gets its whole observed range."""
    plan = _plan(job, choice)
    rows = given_table(plan, full_table(job.plan, table))
    for quantizer in plan.quantizers:
        row = rows[quantizer.name]
        if quantizer.bits == 16 and row.absmax > 0:
            rows[quantizer.name] = with_threshold(plan, quantizer, row, row.absmax, "max")
    return replace(job, plan=plan), rows


def _plan(job: Job, choice: Choice) -> Plan:
    """The job's plan with a choice; a tensor that only float layers read needs no 16 bits."""
    model, target, scheme = job.loaded.model, job.plan.target, job.plan.scheme
    plan = make_plan(model, target, scheme, float_layers=choice.float_layers)
    wide = {*choice.int16, *(q.name for q in job.plan.quantizers if q.bits == 16)}
    kept = wide & plan.by_tensor.keys()
    return make_plan(model, target, scheme, float_layers=choice.float_layers, int16=kept) if kept else plan


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
    again = choose(base, options, state)
    if again.same_as(choice):
        base.reporter.line("the search left the choice as it was")
    else:
        other = _outcome(base, table, again)
        better = _closest(base, [found, other]) == 1
        found, choice = (other, again) if better else (found, choice)
        base.reporter.line(
            f"chosen again after the search: {'the new' if better else 'the first'} choice stays"
        )
    models = [export(base.loaded.model, base.plan, state)]
    models += [_outcome(base, table, choice.first(n)).model for n in range(1, len(choice))]
    return replace(found, curve=curve(base, choice, [*models, found.model]))


def curve(job: Job, choice: Choice, models: Sequence[bytes]) -> tuple[CurvePoint, ...]:
    """The accuracy of models on the tuning images, each with one more of what was chosen."""
    blobs = [job.executor.share(model) for model in models]
    results = compare_models(job, "curve of the budget", blobs, job.data, job.selection.tuning)
    points = []
    for count in range(len(models)):
        part, figures = choice.first(count), accuracy(results, count)
        points.append(
            CurvePoint(
                budget=count,
                int16=part.int16,
                float_layers=part.float_layers,
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


def _outcome(base: Job, table: Table, choice: Choice) -> Outcome:
    job, rows = with_choice(base, table, choice)
    return Outcome(job.plan, rows, export(job.loaded.model, job.plan, corrected_state(job, rows)))


def _closest(job: Job, outcomes: Sequence[Outcome]) -> int:
    blobs = [job.executor.share(outcome.model) for outcome in outcomes]
    results = compare_models(job, "compare choices", blobs, job.data, job.selection.tuning)
    scores = [mean_over_images(image_diffs(results, i)) for i in range(len(outcomes))]
    return min(range(len(scores)), key=lambda i: (scores[i], i))
