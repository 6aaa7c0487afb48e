"""Channels of the rows that linear layers multiply, scaled as those of pictures are.

In a transformer few channels of a LayerNormalization's output are many times wider than the others. Its own
scale and bias take the inverse of the factors, and the weights of all layers that read it the factors
(Xiao et al., "SmoothQuant: Accurate and Efficient Post-Training Quantization for Large Language Models", ICML
2023). Behind an activation such as a GELU a multiplication takes the inverse.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from distq.graph.edits import add_initializer
from distq.graph.plan import Plan
from distq.graph.site import Site, site_of
from distq.graph.values import constant, is_float, only_reader

if TYPE_CHECKING:
    import onnx_ir as ir


def site_of_rows(value: ir.Value, plan: Plan, *, apart: bool) -> Site | None:
    """The site of rows that linear layers alone read.

    Args:
        value: any.
        plan: where quantizers stand.
        apart: whether a multiplication can stand behind the node that writes them.
    """
    readers = readers_of_rows(value) if value.name in plan.by_tensor else None
    if not readers:
        return None
    normalization = value.producer() if affine_operands(value.producer()) else None
    if normalization is None and not apart:
        return None
    site = site_of(
        (value.name or "",), readers, [] if normalization is None else [normalization], float("inf")
    )
    return None if site is None else replace(site, rows=True)


def readers_of_rows(value: ir.Value) -> list[ir.Node] | None:
    """The layers that alone read rows of channels and can take factors; None where others read them."""
    shape = value.shape
    if shape is None or len(shape) < 3 or not isinstance(shape[-1], int) or not is_float(value):
        return None
    if value.is_graph_output() or not value.uses():
        return None
    readers = [use.node for use in value.uses() if use.idx == 0 and multiplies_rows(use.node, value)]
    return readers if len(readers) == len(value.uses()) else None


def multiplies_rows(node: ir.Node, value: ir.Value) -> bool:
    """Whether a node is a MatMul of a value's graph with constant weights of float32 on the right."""
    if node.op_type != "MatMul" or node.domain or node.graph is not value.graph:
        return False
    weight = constant(node.inputs[1])
    return weight is not None and weight.ndim == 2 and weight.dtype == np.float32


def affine_operands(node: ir.Node | None) -> list[tuple[ir.Node, int]]:
    """The constants, a number a channel, that a normalization ends with: its factors, then what it adds.

    Args:
        node: that writes rows: a LayerNormalization, or the Add of one that is written out.

    Returns:
        Each as a node and the position of its input; none where the node is no such.
    """
    if node is None or node.domain:
        return []
    if node.op_type == "LayerNormalization":
        return [(node, i) for i in range(1, len(node.inputs))] if _normalizes_rows(node) else []
    if node.op_type != "Add":
        return []
    added = _constant_row(node)
    product = None if added is None else node.inputs[1 - added]
    factor = None if product is None else product.producer()
    if added is None or factor is None or factor.op_type != "Mul" or factor.domain:
        return []
    position = _constant_row(factor)
    if position is None or only_reader(factor.outputs[0]) is not node:
        return []
    return [(factor, position), (node, added)]


def _normalizes_rows(node: ir.Node) -> bool:
    shape = node.outputs[0].shape
    axis = node.attributes.get_int("axis", -1)
    last = shape is not None and axis in {-1, len(shape) - 1}
    rest = [constant(value) for value in node.inputs[1:] if value is not None]
    alone = not any(value.uses() for value in node.outputs[1:])
    return last and alone and bool(rest) and all(array is not None and array.ndim == 1 for array in rest)


def _constant_row(node: ir.Node) -> int | None:
    """The position of a constant with one number a channel of what a node writes."""
    shape = node.outputs[0].shape
    for position, value in enumerate(node.inputs):
        array = constant(value)
        if (
            array is not None
            and shape is not None
            and array.ndim
            and array.size == shape[-1] == array.shape[-1]
        ):
            return position
    return None


def divide_rows(
    graph: ir.Graph, node: ir.Node, scale: npt.NDArray[np.float64], taken: set[str | None]
) -> None:
    """Divide what a normalization writes, channel by channel, by its constants.

    Args:
        graph: of the node; gets the new constants.
        node: with operands as :func:`affine_operands` gives them.
        scale: (channels,).
        taken: names that are in use, to which those of the constants are added.
    """
    for operand, position in affine_operands(node):
        array = constant(operand.inputs[position])
        if array is not None:
            name = f"{operand.outputs[0].name}_equalized_operand{position}"
            divided = (array / scale).astype(np.float32)
            operand.replace_input_with(position, add_initializer(graph, name, divided, taken))
