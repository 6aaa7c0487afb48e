"""``distq diff``: how far a network with given thresholds is from float, and which part of it costs what."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from pathlib import Path

from distq.config import DiffOptions, TuneOptions
from distq.ending import temporary_folder
from distq.engine.progress import Reporter
from distq.errors import UsageError
from distq.exchange.given import read_given
from distq.exchange.model_file import network_reader
from distq.graph.plan import Plan
from distq.graph.resolve import folded_into, layers_by_name, resolve_layers
from distq.graph.variants import FloatPart
from distq.options import on_command_line
from distq.run.context import Run
from distq.run.listed_layers import with_listed
from distq.run.open import interruptible, open_run
from distq.run.prepare import job_of
from distq.run.results import Accuracy, DiffResult, LargestStep, LayerStep, RunResult, TensorCost
from distq.search.metrics import cosine, decibels, mean_over_images, nmse, sqnr_db
from distq.stages.calibrated import calibrated
from distq.stages.compare import accuracy, compare_models, image_diffs
from distq.stages.form import Form
from distq.stages.sensitivity import Cost, PartError, Variants, sensitivity, touches

LARGEST = 3
"""Steps of a curve that are named."""


def diff(options: DiffOptions, reporter: Reporter) -> DiffResult:
    """Compare a network with a table's thresholds with float, on the first ``tune_samples`` samples.

    Weights are rounded and biases corrected as ``calibrate --table`` does it. Nothing is written.

    Raises:
        InputError: what was given cannot be used.
        ExecutionError: it failed while running.
        InterruptedRun: Ctrl-C.
    """
    asked = {
        "--int8-layers": bool(options.int8_layers),
        "--progressive": options.progressive,
        "--sensitivity": options.sensitivity,
    }
    if sum(asked.values()) > 1:
        both = " and ".join(name for name, wanted in asked.items() if wanted)
        raise UsageError(f"{both} ask for different comparisons: take one")
    with temporary_folder("distq-diff-") as folder:
        tuning = _options(options, folder / "run", reporter)
        with interruptible(), open_run(tuning, "diff", reporter) as run:
            if isinstance(run, RunResult):
                raise UsageError(f"{folder} is in use: try again")
            model, plan, option = run.loaded.model, run.plan, "--int8-layers"
            names = with_listed(options.int8_layers, layers_by_name(model, plan), option)
            chosen = resolve_layers(model, plan, names, option)
            form = calibrated(run)
            compared = run.by_diff()
            network, loss = _of_layers(compared, form, chosen) if chosen else _whole(compared, form)
            steps = _progressive(compared, form) if options.progressive else ()
            shown = {*chosen, *(step.layer for step in steps)}
            return DiffResult(
                images=len(run.tuning),
                layers=chosen or None,
                network=network,
                diff=loss,
                steps=steps,
                largest=_largest(steps),
                folded={name: parts for name, parts in folded_into(model, plan).items() if name in shown},
                tensors=_tensor_costs(*sensitivity(compared, form)) if options.sensitivity else (),
            )


class _Options(TuneOptions):
    """The tune job whose first steps diff takes: its samples, its rounding, its bias correction."""

    tune_samples: int = DiffOptions.model_fields["tune_samples"].default
    holdout: int | None = 0


OF_THE_RUN = ("target", "scheme")
"""What a table is of, where it lies in the folder of a run and the user says nothing else."""


def _options(options: DiffOptions, out: Path, reporter: Reporter) -> TuneOptions:
    """A job of the same samples and settings; what has 16 bits in the table gets them."""
    own = {"int8_layers", "progressive", "sensitivity"}
    given = {name: getattr(options, name) for name in options.model_fields_set - own}
    job = job_of(options.table)
    for name in OF_THE_RUN:
        stated = job.get(name, getattr(options, name))
        if name not in given and stated != getattr(options, name):
            reporter.line(f"{on_command_line(name)} {stated}, as the run of {options.table}")
            given[name] = stated
    wide = read_given(options.table, options.model, read=network_reader(options.weights)).wide
    return _Options(**given, int16_layers=wide, out=out)


def _whole(run: Run, form: Form) -> tuple[Accuracy, float | None]:
    """The network that ``calibrate`` would export, and its mean loss where another measure is lowered."""
    model, tuning = run.share_reported(form.exported), run.selection.tuning
    results = compare_models(run, "compare with float", [model], run.data, tuning, lowered=run.lowered)
    loss = None if run.lowered is None else mean_over_images(image_diffs(results, 0))
    return accuracy(results, 0), loss


def _of_layers(run: Run, form: Form, names: Collection[str]) -> tuple[Accuracy, float | None]:
    """The same of the network with only these layers in INT8."""
    variants, plan = Variants(run, form, None), form.plan
    chosen = [layer for layer in plan.layers if layer.name in names]
    tensors = {t for q in plan.quantizers if touches(plan, q, chosen) for t in q.tensors}
    rest = [layer for layer in plan.layers if layer.name not in names]
    part = variants.part(plan.by_tensor.keys() - tensors, rest)
    (found,) = variants.statistics("compare with float", [part])
    (error,) = variants.errors("compare with float", [part])  # the same result, recalled
    return Accuracy(nmse=nmse(found), sqnr_db=sqnr_db(found), cosine=cosine(found)), error.diff


def _progressive(run: Run, form: Form) -> tuple[LayerStep, ...]:
    """INT8 from the first layer to each layer in turn, float behind it.

    The lines are worded as those of Bitmain's tuner in its test mode (REFERENCE.md 1.1).
    """
    variants, plan = Variants(run, form, None), form.plan
    steps = []
    parts = [_grown(variants, plan, count) for count in range(1, len(plan.layers) + 1)]
    for layer, value in zip(plan.layers, variants.errors("progressive", parts), strict=True):
        shown = value.nmse if value.diff is None else value.diff
        run.reporter.line(f"Difference from first layer to {layer.name} layer is {shown:.6g}")
        step = LayerStep(layer=layer.name, nmse=value.nmse, sqnr_db=decibels(value.nmse), diff=value.diff)
        steps.append(step)
    return tuple(steps)


def _largest(steps: Sequence[LayerStep]) -> tuple[LargestStep, ...]:
    """The layers that the error grew most with."""
    errors = [0.0, *(step.nmse if step.diff is None else step.diff for step in steps)]
    grew = sorted(range(len(steps)), key=lambda i: errors[i] - errors[i + 1])
    by_measure = any(step.diff is not None for step in steps)
    shown = errors if by_measure else [decibels(error) for error in errors]
    return tuple(
        LargestStep(layer=steps[i].layer, before=shown[i], after=shown[i + 1])
        for i in grew[:LARGEST]
        if errors[i + 1] > errors[i]
    )


def _grown(variants: Variants, plan: Plan, count: int) -> FloatPart:
    """What is float when the first ``count`` layers are INT8: the other layers, and all quantizers behind."""
    if count == len(plan.layers):
        return FloatPart()
    reached = [i for i, q in enumerate(plan.quantizers) if touches(plan, q, plan.layers[:count])]
    behind = plan.quantizers[max(reached) + 1 :]
    return variants.part({t for q in behind for t in q.tensors}, plan.layers[count:])


def _tensor_costs(whole: PartError, costs: Sequence[Cost]) -> tuple[TensorCost, ...]:
    """Rows of the table, the worst inside the network first."""
    return tuple(
        TensorCost(
            tensor=cost.quantizer,
            bits=cost.bits,
            alone_nmse=cost.alone.nmse,
            alone_sqnr_db=decibels(cost.alone.nmse),
            without_nmse=cost.without.nmse,
            without_sqnr_db=decibels(cost.without.nmse),
            alone_diff=cost.alone.diff,
            without_diff=cost.without.diff,
            part=_part(_size(whole), _size(cost.without)),
        )
        for cost in sorted(costs, key=lambda cost: _size(cost.without))
    )


def _size(error: PartError) -> float:
    """By what is compared."""
    return error.nmse if error.diff is None else error.diff


def _part(whole: float, without: float) -> float:
    """What share of an error leaves with a tensor."""
    return (whole - without) / abs(whole) if whole else 0.0
