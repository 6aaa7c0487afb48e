"""Small questions on the values of a graph.

Like all that workers load it does without onnx-ir at run time, which takes a quarter of a second to import.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import onnx_ir as ir

_WITH_GRAPHS = (5, 10)
"""GRAPH and GRAPHS among ONNX's types of attributes."""

_FLOAT = 1
"""Among ONNX's types of tensors."""


def constant(value: ir.Value | None) -> np.ndarray | None:
    """The value of an initializer that no caller can replace, or None."""
    if value is None or not value.is_initializer() or value.is_graph_input() or value.const_value is None:
        return None
    return value.const_value.numpy()


def is_overridable(value: ir.Value | None) -> bool:
    """Whether a value is an initializer that a caller of the network can replace."""
    return value is not None and value.is_initializer() and value.is_graph_input()


def values_of(graph: ir.Graph) -> list[ir.Value]:
    """Inputs, and what nodes write, in graph order; without the graphs inside nodes."""
    return [*graph.inputs, *(value for node in graph for value in node.outputs)]


def names_in(graph: ir.Graph) -> set[str | None]:
    """Names of the initializers and values of a graph and of all graphs inside it.

    ONNX wants a name to be defined once in all of them.
    """
    found = {*graph.initializers, *(v.name for v in values_of(graph))}
    for node in graph:
        for inner in subgraphs(node):
            found |= names_in(inner)
    return found


def subgraphs(node: ir.Node) -> Iterator[ir.Graph]:
    """The graphs a node holds: branches of an If, bodies of Loop and Scan."""
    for (
        attribute
    ) in node.attributes.data.values():  # asked of every node, many times: past the mapping's own code
        if attribute.type not in _WITH_GRAPHS or attribute.is_ref():
            continue
        if attribute.type == _WITH_GRAPHS[0]:
            yield attribute.as_graph()
        else:
            yield from attribute.as_graphs()


def reads(node: ir.Node) -> list[ir.Value]:
    """All values a node needs: its inputs, then what its subgraphs take from outside; each once."""
    found = {v: None for v in node.inputs if v is not None}
    for inner in subgraphs(node):
        found.update(dict.fromkeys(_captured(inner)))
    return list(found)


def captured(node: ir.Node) -> list[ir.Value]:
    """What the graphs inside a node take from outside; each once, in the order they read it."""
    return list(dict.fromkeys(value for inner in subgraphs(node) for value in _captured(inner)))


def _captured(graph: ir.Graph) -> list[ir.Value]:
    own = {*values_of(graph), *graph.initializers.values()}
    wanted = [*(v for node in graph for v in reads(node)), *graph.outputs]
    return [v for v in wanted if v not in own]


def first_written(node: ir.Node) -> str:
    """The name by which a node is reported: its first output, of those that it writes."""
    return next((value.name for value in node.outputs if value.name), "")


def only_reader(value: ir.Value) -> ir.Node | None:
    """The one node of the value's own graph that reads it.

    None where there are more, where one inside a subgraph reads it, or where it is an output of a graph.
    """
    uses = list(value.uses())
    if len(uses) != 1 or value.is_graph_output() or uses[0].node.graph is not value.graph:
        return None
    return uses[0].node


def is_float(value: ir.Value | None) -> bool:
    """Whether a value is a float32 tensor; one of unknown type counts as float32."""
    if value is None or value.type is None:
        return value is not None
    if value.dtype is None:
        return True
    return value.dtype == _FLOAT and value.type.elem_type == value.dtype  # no sequence of tensors


def numpy_dtype(value: ir.Value) -> str:
    """Name of the numpy type of a value; float32 where unknown."""
    return "float32" if value.dtype is None else np.dtype(value.dtype.numpy()).name
