"""What a budget is best spent on: the activations and layers that cost most, by two measures."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from distq.config import TuneOptions
from distq.graph.plan import Plan, make_plan
from distq.graph.state import State
from distq.graph.variants import FloatPart
from distq.jobs.context import Job
from distq.jobs.sensitivity import IMAGES, Variants, touches

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

    def in_effect(self, job: Job) -> Choice:
        """Without tensors that only float layers read: these have no quantizer."""
        tensors = self.plan(job).by_tensor
        return replace(self, int16=tuple(name for name in self.int16 if name in tensors))

    def plan(self, job: Job) -> Plan:
        """The job's plan with this choice; a tensor that only float layers read needs no 16 bits."""
        model, target, scheme = job.loaded.model, job.plan.target, job.plan.scheme
        plan = make_plan(model, target, scheme, float_layers=self.float_layers)
        wide = {*self.int16, *(q.name for q in job.plan.quantizers if q.bits == 16)}
        kept = wide & plan.by_tensor.keys()
        return make_plan(model, target, scheme, float_layers=self.float_layers, int16=kept) if kept else plan


def worst(job: Job, options: TuneOptions, state: State) -> list[Choice]:
    """The worst inside the INT8 network, and the worst alone; one choice where both agree.

    Inside a network that is close to float the first measure is the truth. In one that is far from it a
    tensor's part drowns in that of the others, and the second finds it.
    """
    variants = Variants(job, state, IMAGES, in_parts=True)
    inside, alone = _worst_inside(job, options, variants), _worst_alone(job, options, variants)
    return [inside] if inside.same_as(alone) else [inside, alone]


def _worst_inside(job: Job, options: TuneOptions, variants: Variants) -> Choice:
    """Worst first, each measured in float inside the INT8 network with all chosen before it in float too."""
    plan = job.plan

    def without_tensors(names: Sequence[str]) -> FloatPart:
        return variants.part(_tensors(plan, names))

    int16 = _greedy(variants, "16 bits", _narrow(plan), options.int16_budget, without_tensors)

    def without_layers(names: Sequence[str]) -> FloatPart:
        left = Choice(int16, tuple(names)).plan(job).by_tensor
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


def _worst_alone(job: Job, options: TuneOptions, variants: Variants) -> Choice:
    """Worst first, each measured in INT8 with everything else in float."""
    plan, everything = job.plan, frozenset(job.plan.by_tensor)
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
    return [q.name for q in plan.quantizers if q.bits == 8]


def _tensors(plan: Plan, quantizers: Sequence[str]) -> frozenset[str]:
    return frozenset(t for q in plan.quantizers if q.name in quantizers for t in q.tensors)
