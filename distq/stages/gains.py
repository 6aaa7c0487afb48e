"""What making activations and layers better than 8 bit gains for what it costs, by estimate.

The network becomes INT8 layer by layer, on a few samples: one forward a sample and layer, where making the
network anew takes hundreds (:mod:`distq.stages.part_errors`). What is quantized together loses the sum, as
rounding errors are hardly correlated.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field, replace

from distq.config import CostName
from distq.graph.islands import is_depthwise
from distq.graph.network_cost import shares
from distq.graph.placement import plan_again
from distq.graph.plan import Quantizer
from distq.run.context import Run
from distq.stages.form import Choice, Form
from distq.stages.part_errors import part_errors
from distq.stages.sensitivity import IMAGES, PartError, touches

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


@dataclass
class _Books:
    """What is known of the parts of a network, and how it changes with what is chosen.

    Attributes:
        activations: NMSE that a quantizer adds.
        weights: NMSE that a layer's weights add.
        near: layers that read or write what a quantizer is for.
        price: of each layer as a part of the network.
        floats, wide: layers in float and quantizers with 16 bits, so far.
        paid: layers not in INT8.
    """

    activations: Mapping[str, float]
    weights: Mapping[str, float]
    near: Mapping[str, frozenset[str]]
    price: Mapping[str, float]
    floats: set[str] = field(default_factory=set)
    wide: set[str] = field(default_factory=set)
    paid: set[str] = field(default_factory=set)

    def left(self, floats: Collection[str], wide: Collection[str]) -> dict[str, float]:
        """What is lost with these, by what loses it; a tensor of float layers alone is float."""
        found = {q: e for q, e in self.activations.items() if q not in wide and not self._gone(q, floats)}
        return found | {f"the weights of {n}": e for n, e in self.weights.items() if n not in floats}

    def of(self, item: Item) -> tuple[float, float] | None:
        """The error that an item takes away, and what it costs; None where it changes nothing."""
        floats = self.floats | {*item.float_layers}
        new = floats - self.floats
        gain = math.fsum(self.weights.get(name, 0.0) for name in new)
        near = [q for q, layers in self.near.items() if not new.isdisjoint(layers)] if new else []
        changed = {q for q in (*near, *item.int16) if q not in self.wide and not self._gone(q, self.floats)}
        taken = [q for q in changed if q in item.int16 or self._gone(q, floats)]
        if not new and not taken:
            return None
        gain += math.fsum(self.activations[q] for q in taken)
        return gain, math.fsum(self.price[name] for name in self._paid(item) - self.paid)

    def choose(self, item: Item) -> None:
        """Take it."""
        self.paid |= self._paid(item)
        self.floats.update(item.float_layers)
        self.wide.update(item.int16)

    def _paid(self, item: Item) -> set[str]:
        return {*item.float_layers}.union(*(self.near[q] for q in item.int16))

    def _gone(self, quantizer: str, floats: Collection[str]) -> bool:
        near = self.near[quantizer]
        return bool(near) and near <= {*floats}


class Gains:
    """Items in the order in which they are best chosen, and what the first of them leave of the error.

    Attributes:
        items: all of them.
        chain: those that do not put the last layer in float, the best first.
        errors: NMSE estimated with the first 0, 1, 2 and so on of them.
    """

    def __init__(self, run: Run, form: Form, cost: CostName) -> None:
        """Measure what each part of the network costs alone, and put the items in order.

        By the NMSE, or by the loss that the run lowers.

        Args:
            run: gives workers and samples.
            form: the INT8 network.
            cost: what is to be small; multiplications stand for latency, which is not known by layer.
        """
        self._form = form
        self._quantizers: dict[tuple[str, ...], Mapping[str, Quantizer]] = {}
        self._books, self._of_outputs = _books(run, form, cost)
        self.chain: list[Item] = []
        self.errors = [self.error(Choice())]
        self.items = items = _items(form)
        while best := self._best(items):
            item, gain, items = best
            self._books.choose(item)
            self.chain.append(item)
            self.errors.append(max(0.0, self.errors[-1] - gain))

    def choice(self, count: int) -> Choice:
        """The first items as one choice."""
        return self.in_effect(_together(self.chain[:count]))

    def in_effect(self, choice: Choice) -> Choice:
        """A choice in graph order, its tensors called as the network with its float layers calls them.

        What only float layers read has no quantizer left; where a part of what shared one has, it is another.
        """
        form = self._form
        nodes = {layer.name: layer.node for layer in form.plan.layers if layer.name in choice.float_layers}
        owners, left = form.plan.by_tensor, self._left_with(nodes)
        wide = {owners[name].name for name in choice.int16}
        shared = (tensor for q in form.plan.quantizers if q.name in wide for tensor in q.tensors)
        return Choice(tuple(dict.fromkeys(left[t].name for t in shared if t in left)), tuple(nodes))

    def _left_with(self, nodes: Mapping[str, str]) -> Mapping[str, Quantizer]:
        """The quantizer of each tensor that has one left where these layers, by name, are in float."""
        known = tuple(nodes)
        if known not in self._quantizers:
            form, settings = self._form, self._form.plan.settings
            floats = (*settings.floats, *((node, name) for name, node in nodes.items()))
            as_given = replace(form.plan, settings=replace(settings, floats=floats))
            self._quantizers[known] = plan_again(as_given, form.model).by_tensor
        return self._quantizers[known]

    def all_but_one(self) -> list[Choice]:
        """All in 16 bits and float but one layer, which stays in INT8: first where that one loses least."""
        layers = [layer.name for layer in self._form.plan.layers]
        wide = tuple(dict.fromkeys(name for item in self.chain for name in item.int16))
        found = [Choice(wide, tuple(n for n in layers if n != kept)) for kept in layers]
        return [self.in_effect(choice) for choice in sorted(found, key=self.error)]

    def error(self, choice: Choice) -> float:
        """NMSE estimated for a choice: the sum over what stays in 8 bits."""
        return math.fsum(self._left(choice).values())

    def price(self, choice: Choice) -> float:
        """What a choice costs: the share of the network's multiplications, or of its layers."""
        near, owners = self._books.near, self._form.plan.by_tensor
        paid = {*choice.float_layers}.union(*(near[owners[name].name] for name in choice.int16))
        return math.fsum(self._books.price[name] for name in paid)

    def leaves_int8(self, choice: Choice) -> bool:
        """Whether a layer is left that is not in float."""
        return len({*choice.float_layers}) < len(self._form.plan.layers)

    def without_each(self, choice: Choice) -> dict[Item, float]:
        """NMSE estimated for a choice without each tensor and layer of it.

        Tensors that shared a quantizer until a layer between them became float are one part.
        """
        return {item: self.error(less(choice, item)) for item in self._items_of(choice)}

    def outputs_without_each(self, choice: Choice) -> dict[Item, float]:
        """The same of the outputs' NMSE, where parts go by what a measure says of them."""
        parts = {item: self._left(less(choice, item), self._of_outputs) for item in self._items_of(choice)}
        return {item: math.fsum(left.values()) for item, left in parts.items()}

    def _items_of(self, choice: Choice) -> list[Item]:
        owners, together = self._form.plan.by_tensor, dict[str, list[str]]()
        for name in choice.int16:
            together.setdefault(owners[name].name, []).append(name)
        items = [Item(int16=tuple(names)) for names in together.values()]
        return [*items, *(Item(float_layers=(name,)) for name in choice.float_layers)]

    def least_needed(self, choice: Choice) -> list[Item]:
        """The parts of a choice, first those that gain least for what they cost."""
        now, worth = self.error(choice), {}
        for item, error in self.without_each(choice).items():
            cost = self.price(Choice(item.int16, item.float_layers))
            worth[item] = (error - now) / max(cost, LEAST_COST)
        return sorted(worth, key=lambda item: worth[item])

    def dearest(self, choice: Choice, count: int) -> list[Item]:
        """The parts of a choice without which it costs least, the dearest first."""
        saved = {item: -self.price(less(choice, item)) for item in self.without_each(choice)}
        return sorted(saved, key=lambda item: -saved[item])[:count]

    def worst(self, choice: Choice, count: int) -> list[str]:
        """What costs most of the error with a choice, the worst first, for a person."""
        left = self._left(choice)
        return sorted(left, key=lambda name: -left[name])[:count]

    def _left(self, choice: Choice, books: _Books | None = None) -> dict[str, float]:
        owners = self._form.plan.by_tensor
        return (books or self._books).left(choice.float_layers, {owners[name].name for name in choice.int16})

    def _best(self, items: Collection[Item]) -> tuple[Item, float, list[Item]] | None:
        """The item that gains most for its cost, its gain, and the others; one layer stays in INT8."""
        books, most = self._books, len(self._form.plan.layers) - 1
        found = {item: books.of(item) for item in items if len(books.floats | {*item.float_layers}) <= most}
        useful = {item: both for item, both in found.items() if both is not None}
        if not useful:
            return None
        best = max(useful, key=lambda item: useful[item][0] / max(useful[item][1], LEAST_COST))
        return best, useful[best][0], [item for item in useful if item != best]


def _books(run: Run, form: Form, cost: CostName) -> tuple[_Books, _Books]:
    """Measure what each quantizer and each layer's weights add to the error.

    Returns:
        By what choices go by, and by the NMSE of the outputs. A loss such as that of boxes grows with the
        error, not with its square as the NMSE does, so the squares of losses add up.
    """
    plan, found = form.plan, part_errors(run, form, IMAGES)
    work = shares(form.model) if cost != "layers" else {x.node: 1 / len(plan.layers) for x in plan.layers}

    def of(size: Callable[[PartError], float]) -> _Books:
        return _Books(
            activations={name: size(error) for name, error in found.activations.items()},
            weights={name: size(error) for name, error in found.weights.items()},
            near={
                q.name: frozenset(x.name for x in plan.layers if touches(plan, q, [x]))
                for q in plan.quantizers
            },
            price={layer.name: work[layer.node] for layer in plan.layers},
        )

    return of(lambda one: one.nmse if one.diff is None else one.diff**2), of(lambda one: one.nmse)


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
