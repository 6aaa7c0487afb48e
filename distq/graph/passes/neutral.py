"""Operators that give back their input."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from distq.graph.layers import clip_bounds, passes_values
from distq.graph.values import constant, is_float

_RESHAPES = frozenset({"Reshape", "Flatten", "Squeeze", "Unsqueeze"})
_OF_MANY = frozenset({"Concat", "Sum", "Mean", "Max", "Min"})
_UNIT = frozenset({"Sigmoid", "HardSigmoid", "Softmax"})
_NEUTRAL_OPERAND = {"Mul": 1.0, "Div": 1.0, "Pow": 1.0, "Add": 0.0, "Sub": 0.0}


class DropNeutral(ir.passes.InPlacePass):
    """Remove what gives back its input: between two quantizers it would cost one of them for nothing.

    * Cast to the type that its input has.
    * Mul, Div and Pow by 1, Add and Sub of 0, where the constant does not broadcast the other operand.
    * Relu and Clip whose bounds their input keeps: no bounds, or those of a Relu, Clip or Sigmoid before it.
    * Transpose that changes no order, also together with the one before it.
    * Reshape, Flatten, Squeeze and Unsqueeze in a row that end in the shape they began with.
    * Pad by nothing; Expand to the same shape; Concat, Sum, Mean, Max and Min of one tensor.
    * What writes a graph output stays: it carries a name that is the user's.
    """

    def call(self, model: ir.Model) -> ir.passes.PassResult:
        """Let readers read what the operator would give back."""
        modified = False
        for node in list(model.graph):
            if node.domain or len(node.outputs) != 1 or node.outputs[0].is_graph_output():
                continue
            source = _given_back(node)
            if source is None:
                continue
            node.outputs[0].replace_all_uses_with(source)
            model.graph.remove(node, safe=True)
            modified = True
        return ir.passes.PassResult(model, modified)


def _given_back(node: ir.Node) -> ir.Value | None:
    """The value that a node gives back unchanged, if it does."""
    source = node.inputs[0] if node.inputs else None
    if source is None or not is_float(source) or not is_float(node.outputs[0]):
        return None
    if node.op_type in _NEUTRAL_OPERAND:
        return _operand(node)
    if node.op_type == "Transpose":
        return _transposed_back(node, source)
    if node.op_type in _RESHAPES:
        return _reshaped_back(node, source)
    return source if _is_idle(node, source) else None


def _is_idle(node: ir.Node, source: ir.Value) -> bool:
    """Whether a node of one data input gives that back."""
    match node.op_type:
        case "Cast":
            return source.dtype is not None and node.attributes.get_int("to", 0) == source.dtype.value
        case "Relu" | "Clip":
            return _keeps_bounds(node, source)
        case "Pad":
            pads = constant(node.inputs[1]) if len(node.inputs) > 1 else None
            return pads is not None and not pads.any()
        case "Expand":
            return _static(source) is not None and _static(source) == _static(node.outputs[0])
    return node.op_type in _OF_MANY and len(node.inputs) == 1


def _operand(node: ir.Node) -> ir.Value | None:
    """The other operand of a constant that changes nothing."""
    first, second = node.inputs
    positions = (
        ((first, second),) if node.op_type in {"Div", "Pow", "Sub"} else ((first, second), (second, first))
    )
    for value, other in positions:
        array = constant(other)
        if value is None or array is None or constant(value) is not None:
            continue
        if np.all(array == _NEUTRAL_OPERAND[node.op_type]) and _fits_into(array, value):
            return value
    return None


def _fits_into(array: np.ndarray, value: ir.Value) -> bool:
    """Whether an array broadcasts to a value without broadcasting the value."""
    if array.ndim == 0:
        return True
    shape = value.shape
    if shape is None or array.ndim > len(shape):
        return False
    sizes = list(shape)[len(shape) - array.ndim :]
    return all(own in {1, size} for own, size in zip(array.shape, sizes, strict=True))


def _keeps_bounds(node: ir.Node, source: ir.Value) -> bool:
    bounds = clip_bounds(node)
    if bounds is None:
        return False
    low, high = _bounds(source)
    return bounds[0] <= low and high <= bounds[1]


def _bounds(value: ir.Value) -> tuple[float, float]:
    """Between what a value lies, as far as the operators before it say."""
    node = value.producer()
    if node is None or node.domain:
        return -np.inf, np.inf
    if node.op_type in _UNIT:
        return 0.0, 1.0
    if passes_values(node) and node.inputs[0] is not None:
        return _bounds(node.inputs[0])
    return clip_bounds(node) or (-np.inf, np.inf)


def _transposed_back(node: ir.Node, source: ir.Value) -> ir.Value | None:
    order = node.attributes.get_ints("perm", [])
    if order and list(order) == sorted(order):
        return source
    before = source.producer()
    if not order or before is None or before.op_type != "Transpose" or before.domain:
        return None
    first = before.attributes.get_ints("perm", [])
    together = [first[axis] for axis in order] if len(first) == len(order) else []
    return before.inputs[0] if together and together == sorted(together) else None


def _reshaped_back(node: ir.Node, source: ir.Value) -> ir.Value | None:
    """What a row of reshapes began with, where it has the shape that they end in."""
    wanted = _static(node.outputs[0])
    value: ir.Value | None = source
    while wanted is not None and value is not None:
        if _static(value) == wanted:
            return value
        before = value.producer()
        if before is None or before.domain or before.op_type not in _RESHAPES:
            return None
        value = before.inputs[0]
    return None


def _static(value: ir.Value) -> tuple[int, ...] | None:
    """The shape of a value, where all of it is known."""
    if value.shape is None or not all(isinstance(size, int) for size in value.shape):
        return None
    return tuple(int(size) for size in value.shape)  # type: ignore[arg-type]  # all are integers
