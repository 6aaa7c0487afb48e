"""Small questions and edits on the values of a graph."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir


def constant(value: ir.Value | None) -> np.ndarray | None:
    """The value of an initializer that no caller can replace, or None."""
    if value is None or not value.is_initializer() or value.is_graph_input() or value.const_value is None:
        return None
    return value.const_value.numpy()


def values_of(graph: ir.Graph) -> list[ir.Value]:
    """Inputs, and what nodes write, in graph order."""
    return [*graph.inputs, *(value for node in graph for value in node.outputs)]


def add_initializer(graph: ir.Graph, name: str, array: np.ndarray) -> ir.Value:
    """Register an array as initializer under a name that is free."""
    taken = {*graph.initializers, *(v.name for v in values_of(graph))}
    free, counter = name, 1
    while free in taken:
        free, counter = f"{name}_{counter}", counter + 1
    return register(graph, free, array)


def register(graph: ir.Graph, name: str, array: np.ndarray) -> ir.Value:
    """Register an array as initializer under a name that is known to be free."""
    tensor = ir.tensor(np.asarray(array, order="C"), name=name)
    value = ir.Value(
        name=name, shape=ir.Shape(array.shape), type=ir.TensorType(tensor.dtype), const_value=tensor
    )
    graph.register_initializer(value)
    return value


def only_reader(value: ir.Value) -> ir.Node | None:
    """The one node that reads a value, if there is one and the value is no network output."""
    uses = list(value.uses())
    return uses[0].node if len(uses) == 1 and not value.is_graph_output() else None


def is_float(value: ir.Value | None) -> bool:
    """Whether a value is a float32 tensor; one of unknown type counts as float32."""
    return value is not None and (value.dtype is None or value.dtype == ir.DataType.FLOAT)


def numpy_dtype(value: ir.Value) -> str:
    """Name of the numpy type of a value; float32 where unknown."""
    return "float32" if value.dtype is None else np.dtype(value.dtype.numpy()).name


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
