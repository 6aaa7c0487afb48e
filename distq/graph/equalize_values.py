"""Channels of an attention's values, scaled from the layer that makes them to the one behind the attention.

What comes of an attention is linear in its values, channel by channel. So the columns of the values' weights
take the inverse of the factors and the rows of the output projection's the factors, whatever reorders the
channels between, with the exact same float network. Two tensors are evened out: the values and their means.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from distq.graph.carried import Carried, End, carried_from, columns_of
from distq.graph.edits import add_initializer
from distq.graph.equalize_rows import multiplies_rows
from distq.graph.linear import bias_add, result_of
from distq.graph.site import Site, site_of
from distq.graph.values import constant, is_float

if TYPE_CHECKING:
    import onnx_ir as ir

    from distq.graph.plan import Plan


def sites_of_values(graph: ir.Graph, plan: Plan) -> Iterator[Site]:
    """The site of each linear layer whose channels, mixed with shares, other linear layers alone read."""
    for node in graph:
        weight = constant(node.inputs[1]) if node.op_type == "MatMul" and not node.domain else None
        if weight is None or weight.ndim != 2 or weight.dtype != np.float32 or not is_float(node.outputs[0]):
            continue
        carried = carried_from(result_of(node))
        site = None if carried is None else _site(node, carried, plan)
        if site is not None:
            yield site


def _site(writer: ir.Node, carried: Carried, plan: Plan) -> Site | None:
    """The site of a layer's result, followed to all its ends."""
    ends = [end for end in carried.ends if _takes_factors(end, carried)]
    columns = columns_of(ends[0].numbers) if ends else None
    if columns is None or any(columns_of(end.numbers) != columns for end in ends[1:]):
        return None
    own = set(columns)
    others = [end.numbers for end in carried.ends if end not in ends]
    others += [numbers for value, numbers in carried.values.items() if value.is_graph_output()]
    if any(not own.isdisjoint(numbers.flat) for numbers in others):
        return None
    tensors, measured = [], []
    seen = set()
    for value, numbers in carried.values.items():
        quantizer = plan.by_tensor.get(value.name or "")
        if quantizer is None or own.isdisjoint(numbers.flat):
            continue
        if not own.issuperset(numbers.flat):
            return None
        if quantizer.name not in seen:
            seen.add(quantizer.name)
            tensors.append(value.name or "")
            rows = ends[0].node.inputs[0] if value in carried.mixed else result_of(writer)
            measured.append(((rows.name if rows else None) or "", () if value in carried.mixed else columns))
    found = site_of(tuple(tensors), [end.node for end in ends], [writer], float("inf"))
    return None if found is None else replace(found, rows=True, columns=columns, measured=tuple(measured))


def _takes_factors(end: End, carried: Carried) -> bool:
    """Whether a reader is a linear layer, behind a product with shares."""
    rows = end.node.inputs[0]
    return end.position == 0 and rows in carried.mixed and multiplies_rows(end.node, rows)


def divide_columns(
    graph: ir.Graph,
    node: ir.Node,
    columns: Sequence[int],
    scale: npt.NDArray[np.float64],
    taken: set[str | None],
) -> None:
    """Divide columns of what a linear layer writes by constants.

    Args:
        graph: of the node; gets the new constants.
        node: a MatMul, with or without the Add of a bias.
        columns: which ones.
        scale: (channels,), of each.
        taken: names that are in use, to which those of the constants are added.
    """
    for operand in (node, bias_add(node)):
        array = None if operand is None else constant(operand.inputs[1])
        if operand is not None and array is not None:
            divided = array.astype(np.float64)
            divided[..., list(columns)] /= scale
            name = f"{operand.outputs[0].name}_equalized_operand1"
            operand.replace_input_with(1, add_initializer(graph, name, divided.astype(np.float32), taken))
