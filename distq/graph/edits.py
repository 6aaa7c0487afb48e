"""Small edits on the values of a graph."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from distq.graph.values import names_in


def add_initializer(
    graph: ir.Graph, name: str, array: np.ndarray, taken: set[str | None] | None = None
) -> ir.Value:
    """Register an array as initializer under a name that is free.

    Args:
        graph: gets it.
        name: that it has, with a number behind it if that is taken.
        array: its value.
        taken: names in use, which the chosen one is added to; looked up where left out.
    """
    if taken is None:
        taken = names_in(graph)
    return register(graph, free_name(name, taken), array)


def new_node(graph: ir.Graph, before: ir.Node, node: ir.Node, output: str) -> ir.Value:
    """Insert a node with one output before another, and give the output a name, and the node if it has none.

    Left to onnx-ir the output would be called ``val_0``, which a user then reads in tables.

    Args:
        graph: gets it.
        before: the node it is put in front of.
        node: the new one.
        output: the name, with a number behind it if that is taken.
    """
    value = node.outputs[0]
    value.name = free_name(output, names_in(graph))
    node.name = node.name or f"{node.op_type}_{value.name}"
    graph.insert_before(before, node)
    return value


def free_name(name: str, taken: set[str | None]) -> str:
    """The name, with a number behind it if it is among those in use, which it is added to."""
    free, counter = name, 1
    while free in taken:
        free, counter = f"{name}_{counter}", counter + 1
    taken.add(free)
    return free


def register(graph: ir.Graph, name: str, array: np.ndarray) -> ir.Value:
    """Register an array as initializer under a name that is known to be free."""
    tensor = ir.Tensor(np.asarray(array, order="C"), name=name)
    value = ir.Value(
        name=name, shape=ir.Shape(array.shape), type=ir.TensorType(tensor.dtype), const_value=tensor
    )
    graph.register_initializer(value)
    return value


def take_over(new: ir.Value, node: ir.Node) -> None:
    """Let ``new`` stand where the first output of ``node`` stood, under its name, and remove ``node``."""
    old = node.outputs[0]
    graph = node.graph
    new.shape, new.type = old.shape, old.type
    name, old.name = old.name, f"{old.name}_replaced"
    old.replace_all_uses_with(new, replace_graph_outputs=True)
    new.name = name
    if isinstance(graph, ir.Graph):
        graph.remove(node, safe=True)
