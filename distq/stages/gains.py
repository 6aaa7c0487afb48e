"""What making activations and layers better than 8 bit gains for what it costs, by estimate.

Each quantizer, and each layer's weights, is alone in INT8 once, on a few samples: one forward a sample, where
making the network anew takes hundreds. What is quantized together loses the sum, as rounding errors are
hardly correlated.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection
from dataclasses import dataclass, replace

from distq.graph.islands import is_depthwise
from distq.graph.network_cost import NetworkCost, network_cost
from distq.run.context import Run
from distq.stages.correct import corrected
from distq.stages.form import Choice, Form
from distq.stages.sensitivity import IMAGES, Variants, others

LEAST_COST = 1e-3
"""What everything costs at least, as part of the network: a layer without multiplications is not free."""


@dataclass(frozen=True)
class Item:
    """Something that can be made better: a tensor with 16 bits, or layers in float."""

    int16: tuple[str, ...] = ()
    float_layers: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """For a person."""
        if self.int16:
            return self.int16[0]
        first, *more = self.float_layers
        return f"{first} and {len(more)} more" if more else first


class Gains:
    """Items in the order in which they are best chosen, and what the first of them leave of the error.

    Attributes:
        chain: all items, the best first.
        errors: NMSE estimated with the first 0, 1, 2 and so on of them.
    """

    def __init__(self, run: Run, form: Form, price: Callable[[NetworkCost], tuple[float, int, int]]) -> None:
        """Measure what each part of the network costs alone, and put the items in order.

        With weights rounded to nearest: what GPTQ makes of them fits the inputs of 8 bits alone.

        Args:
            run: gives workers and samples.
            form: the INT8 network.
            price: what a network costs.
        """
        if run.options.rounding != "nearest":
            nearest = run.options.model_copy(update={"rounding": "nearest"})
            form = corrected(replace(run, options=nearest), form)
        self._form = form
        self._price = price
        self._activations, self._weights = _alone(run, form)
        everything = Choice((), tuple(layer.name for layer in form.plan.layers[1:]))
        self._whole_price = self._first_price(everything) or 1.0
        self.chain = self._ordered(_items(form))
        self.errors = [self.error(self.choice(count)) for count in range(len(self.chain) + 1)]

    def choice(self, count: int) -> Choice:
        """The first items as one choice."""
        return self.in_effect(_together(self.chain[:count]))

    def in_effect(self, choice: Choice) -> Choice:
        """A choice without tensors that only float layers read."""
        return self._form.in_effect(choice)

    def error(self, choice: Choice) -> float:
        """NMSE estimated for a choice: the sum over what stays in 8 bits."""
        left = self._form.plan_with(choice)
        narrow = {q.name for q in left.quantizers if q.bits == 8}
        weighted = {layer.name for layer in left.layers}
        return math.fsum(
            [
                *(error for name, error in self._activations.items() if name in narrow),
                *(error for name, error in self._weights.items() if name in weighted),
            ]
        )

    def without_each(self, choice: Choice) -> dict[Item, float]:
        """NMSE estimated for a choice without each tensor and layer of it."""
        items = [Item(int16=(name,)) for name in choice.int16]
        items += [Item(float_layers=(name,)) for name in choice.float_layers]
        return {item: self.error(less(choice, item)) for item in items}

    def worst(self, choice: Choice, count: int) -> list[str]:
        """What costs most of the error with a choice, the worst first, for a person."""
        left = self._form.plan_with(choice)
        narrow = {q.name for q in left.quantizers if q.bits == 8}
        weighted = {layer.name for layer in left.layers}
        parts = {name: error for name, error in self._activations.items() if name in narrow}
        parts |= {f"the weights of {n}": error for n, error in self._weights.items() if n in weighted}
        return sorted(parts, key=lambda name: -parts[name])[:count]

    def _ordered(self, items: list[Item]) -> list[Item]:
        """Always the item that gains most for its cost; one layer stays in INT8."""
        chain: list[Item] = []
        while items:
            chosen = _together(chain)
            now = self.in_effect(chosen)
            error, paid = self.error(now), self._first_price(now)
            scores: dict[Item, float] = {}
            for item in items:
                both = _together([*chain, item])
                if len(both.float_layers) == len(self._form.plan.layers):
                    continue
                if self.in_effect(both).same_as(now):
                    continue
                cost = max(0.0, self._first_price(both) - paid) / self._whole_price
                scores[item] = (error - self.error(both)) / max(cost, LEAST_COST)
            if not scores:
                break
            chain.append(max(scores, key=lambda item: scores[item]))
            items = [item for item in scores if item != chain[-1]]
        return chain

    def _first_price(self, choice: Choice) -> float:
        form = self._form
        return self._price(network_cost(form.model, form.plan_with(choice)))[0]


def _alone(run: Run, form: Form) -> tuple[dict[str, float], dict[str, float]]:
    """Output NMSE with each quantizer alone, and with each layer's weights alone, all else in float."""
    plan = form.plan
    variants = Variants(run, form, IMAGES, in_parts=True)
    weighted = [layer for layer in plan.layers if layer.weight is not None]
    parts = [variants.part(others(plan, q), plan.layers, inputs=False) for q in plan.quantizers]
    for layer in weighted:
        rest = [other for other in plan.layers if other != layer]
        parts.append(variants.part(plan.by_tensor.keys(), rest))
    errors = variants.nmse("what each part costs", parts)
    count = len(plan.quantizers)
    activations = {q.name: error for q, error in zip(plan.quantizers, errors[:count], strict=True)}
    return activations, {x.name: error for x, error in zip(weighted, errors[count:], strict=True)}


def less(choice: Choice, item: Item) -> Choice:
    """A choice without an item."""
    return Choice(
        tuple(name for name in choice.int16 if name not in item.int16),
        tuple(name for name in choice.float_layers if name not in item.float_layers),
    )


def _items(form: Form) -> list[Item]:
    """Every tensor that may have 16 bits, every layer, and depthwise layers together."""
    plan = form.plan
    kept = plan.settings.narrow
    wide = [
        Item(int16=(q.name,))
        for q in plan.quantizers
        if 16 in plan.target.activation_bits and q.bits == 8 and not q.fixed and kept.isdisjoint(q.tensors)
    ]
    single = [Item(float_layers=(layer.name,)) for layer in plan.layers] if len(plan.layers) > 1 else []
    depthwise = tuple(x.name for x in plan.layers if is_depthwise(form.model.graph.node(x.node)))
    group = [Item(float_layers=depthwise)] if 1 < len(depthwise) < len(plan.layers) else []
    return [*wide, *single, *group]


def _together(items: Collection[Item]) -> Choice:
    int16 = dict.fromkeys(name for item in items for name in item.int16)
    return Choice(tuple(int16), tuple(dict.fromkeys(name for item in items for name in item.float_layers)))
