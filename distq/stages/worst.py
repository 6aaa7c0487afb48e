"""What a budget is best spent on: the activations and layers that cost most, by two measures."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from distq.config import TuneOptions
from distq.graph.plan import Plan
from distq.graph.variants import FloatPart
from distq.run.context import Run
from distq.stages.form import Choice, Form
from distq.stages.sensitivity import IMAGES, Variants, touches

REMEASURED = 8
"""What is measured again for each further choice: the worst of the first measurement."""


def worst(run: Run, options: TuneOptions, form: Form) -> list[Choice]:
    """The worst inside the INT8 network, and the worst alone; one choice where both agree.

    Inside a network that is close to float the first measure is the truth. In one that is far from it a
    tensor's part drowns in that of the others, and the second finds it.
    """
    variants = Variants(run, form, IMAGES, in_parts=True)
    inside, alone = _worst_inside(form, options, variants), _worst_alone(form.plan, options, variants)
    return [inside] if inside.same_as(alone) else [inside, alone]


def _worst_inside(form: Form, options: TuneOptions, variants: Variants) -> Choice:
    """Worst first, each measured in float inside the INT8 network with all chosen before it in float too."""
    plan = form.plan

    def without_tensors(names: Sequence[str]) -> FloatPart:
        return variants.part(_tensors(plan, names))

    int16 = _greedy(variants, "16 bits", _narrow(plan), options.int16_budget, without_tensors)

    def without_layers(names: Sequence[str]) -> FloatPart:
        left = form.plan_with(Choice(int16, tuple(names))).by_tensor
        gone = (plan.by_tensor.keys() - left.keys()) | _tensors(plan, int16)
        return variants.part(gone, [layer for layer in plan.layers if layer.name in names])

    layers = [layer.name for layer in plan.layers]
    return Choice(int16, _greedy(variants, "float", layers, options.float_budget, without_layers))


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
        ranked = _ranked(candidates, errors)
        chosen.append(ranked[0])
        candidates = ranked[1 : 1 + max(REMEASURED, budget - len(chosen))]
    return tuple(chosen)


def _worst_alone(plan: Plan, options: TuneOptions, variants: Variants) -> Choice:
    """Worst first, each measured in INT8 with everything else in float."""
    everything = frozenset(plan.by_tensor)
    int16: tuple[str, ...] = ()
    float_layers: tuple[str, ...] = ()
    if options.int16_budget:
        names = _narrow(plan)
        parts = [
            variants.part(everything - _tensors(plan, [name]), plan.layers, inputs=False) for name in names
        ]
        errors = [-error for error in variants.nmse("each activation alone", parts)]
        int16 = tuple(_ranked(names, errors)[: options.int16_budget])
    if options.float_budget:
        parts = []
        for layer in plan.layers:
            near = {t for q in plan.quantizers if touches(plan, q, [layer]) for t in q.tensors}
            gone = everything - near | _tensors(plan, int16)
            parts.append(variants.part(gone, [other for other in plan.layers if other != layer]))
        errors = [-error for error in variants.nmse("each layer alone", parts)]
        layers = [layer.name for layer in plan.layers]
        float_layers = tuple(_ranked(layers, errors)[: options.float_budget])
    return Choice(int16, float_layers)


def _ranked(names: Sequence[str], errors: Sequence[float]) -> list[str]:
    """Names by error, the smallest first; of equals the earlier."""
    return [names[i] for i in sorted(range(len(names)), key=lambda i: (errors[i], i))]


def _narrow(plan: Plan) -> list[str]:
    """What 16 bits can be given to: not what the user fixed at its range or at 8 bits."""
    kept = plan.settings.narrow
    return [q.name for q in plan.quantizers if q.bits == 8 and not q.fixed and kept.isdisjoint(q.tensors)]


def _tensors(plan: Plan, quantizers: Sequence[str]) -> frozenset[str]:
    return frozenset(t for q in plan.quantizers if q.name in quantizers for t in q.tensors)
