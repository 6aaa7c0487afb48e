"""Small questions on the values of a graph.

Like all that workers load it does without onnx-ir at run time, which takes a quarter of a second to import.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import onnx_ir as ir


def constant(value: ir.Value | None) -> np.ndarray | None:
    """The value of an initializer that no caller can replace, or None."""
    if value is None or not value.is_initializer() or value.is_graph_input() or value.const_value is None:
        return None
    return value.const_value.numpy()


def values_of(graph: ir.Graph) -> list[ir.Value]:
    """Inputs, and what nodes write, in graph order."""
    return [*graph.inputs, *(value for node in graph for value in node.outputs)]


def only_reader(value: ir.Value) -> ir.Node | None:
    """The one node that reads a value, if there is one and the value is no network output."""
    uses = list(value.uses())
    return uses[0].node if len(uses) == 1 and not value.is_graph_output() else None


def is_float(value: ir.Value | None) -> bool:
    """Whether a value is a float32 tensor; one of unknown type counts as float32."""
    return value is not None and (value.dtype is None or value.dtype.name == "FLOAT")


def numpy_dtype(value: ir.Value) -> str:
    """Name of the numpy type of a value; float32 where unknown."""
    return "float32" if value.dtype is None else np.dtype(value.dtype.numpy()).name
