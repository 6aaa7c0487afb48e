"""What two forms of a network are compared by, where an output itself tells little of how far they are apart.

The number of a class or of a box is no quantity: two that are next to each other are as different as any.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import onnx_ir as ir

from distq.graph.dynamic import feeding_outputs_of_dynamic_shape, places_of
from distq.graph.passes.constants import RANDOM
from distq.graph.values import constant, is_float, reads

CHOOSERS = {"ArgMax": 0, "ArgMin": 0, "TopK": 1}
"""Which output of these operators holds indices: of the largest, smallest or first elements of the input."""

CARRIERS = frozenset({"Cast", "Identity", "Reshape", "Flatten", "Transpose", "Squeeze", "Unsqueeze"})
"""Operators that leave an index what it is."""

Reads = dict[int, list[tuple[ir.Node, int]]]
"""By position of a network output, where the tensors that stand for it are read: node and input."""


def feeding_indices(model: ir.Model) -> Reads:
    """Outputs that hold indices, and where what these were chosen from is read.

    A tensor that is an output as well, or that stands for an earlier one, is compared once: then the list is
    empty.
    """
    found: Reads = {}
    seen: set[ir.Value | None] = set(model.graph.outputs)
    for position, output in enumerate(model.graph.outputs):
        node = _chooser(output)
        if node is None:
            continue
        scores = node.inputs[0]
        found[position] = [] if scores in seen else [(node, 0)]
        seen.add(scores)
    return found


def feeding_outputs(model: ir.Model, *, indices: bool = True) -> Reads:
    """What stands for outputs: those of a shape that depends on the data and, if wanted, indices."""
    return {**(feeding_indices(model) if indices else {}), **feeding_outputs_of_dynamic_shape(model)}


def compared_tensors(model: ir.Model, *, indices: bool = True) -> list[str]:
    """The tensors that another form of a model is compared by, in the order of its outputs."""
    instead = feeding_outputs(model, indices=indices)
    names: dict[str, None] = {}
    for position, output in enumerate(model.graph.outputs):
        stand = [places_of(node)[i] for node, i in instead.get(position, ())]
        values = stand if position in instead else [output]
        names |= dict.fromkeys(value.name or "" for value in values if value is not None)
    return list(names)


def remarks(model: ir.Model, *, indices: bool) -> Iterator[str]:
    """What a person should know of outputs that something else stands for."""
    dynamic = feeding_outputs_of_dynamic_shape(model)
    if dynamic:
        nodes = {node.op_type: None for places in dynamic.values() for node, _ in places}
        said = f"{' and '.join(nodes)} read{'s' if len(nodes) == 1 else ''}"
        yield f"the shape of {_names(model, dynamic)} depends on the data: compared is what {said}"
    chosen = [position for position in feeding_indices(model) if position not in dynamic] if indices else []
    if chosen:
        yield f"indices in {_names(model, chosen)}: compared is what they are chosen from"
    drawn = _drawn(model)
    if drawn:
        yield (
            f"{_names(model, drawn)} depend on random numbers in the model, so two runs of float differ and "
            "figures tell little: export it with the noise as an input"
        )


def _drawn(model: ir.Model) -> list[int]:
    """Positions of the outputs that follow from a random generator."""
    behind: set[ir.Value] = set()
    for node in model.graph:
        if (node.op_type in RANDOM and not node.domain) or any(value in behind for value in reads(node)):
            behind.update(node.outputs)
    return [position for position, value in enumerate(model.graph.outputs) if value in behind]


def _names(model: ir.Model, positions: Iterable[int]) -> str:
    return ", ".join(model.graph.outputs[position].name or "" for position in positions)


def _chooser(value: ir.Value) -> ir.Node | None:
    """The node that chose these indices from what the network computes; None: they are no indices."""
    node = value.producer()
    while node is not None and node.op_type in CARRIERS and not node.domain and node.inputs[0] is not None:
        value, node = node.inputs[0], node.inputs[0].producer()
    if node is None or node.domain or node.op_type not in CHOOSERS:
        return None
    if value is not node.outputs[CHOOSERS[node.op_type]]:
        return None
    scores = node.inputs[0]
    computed = scores is not None and constant(scores) is None and scores.producer() is not None
    return node if computed and is_float(scores) else None
