"""Find HardSwish where exporters wrote it as arithmetic."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import onnx_ir as ir

from distq.graph.edits import take_over
from distq.graph.layers import clip_bounds
from distq.graph.passes.tidy import DropUnused
from distq.graph.values import constant, is_float, only_reader

_SHIFT, _WIDTH = 3.0, 6.0
_OPSET = 14
"""HardSwish is an operator from here on; of those that it is written with nothing changed from 13."""

_CLOSE = 1e-5


class PlainSwish(ir.passes.InPlacePass):
    """x * clip(x + 3, 0, 6) / 6, in any order, and x * HardSigmoid(x) of slope 1/6 become HardSwish.

    Nothing else reads what lies between. HardSwish has integer kernels with some targets, the arithmetic has
    none: its sum and its product are not worth 8 bits each.
    """

    def call(self, model: ir.Model) -> ir.passes.PassResult:
        """Rewrite each in place."""
        modified = False
        for node in list(model.graph):
            if node.graph is not None and (data := _swished(node)) is not None:
                made = ir.node("HardSwish", [data], name=node.name)
                model.graph.insert_before(node, made)
                take_over(made.outputs[0], node)
                modified = True
        if modified:
            DropUnused()(model)  # what it was written with
            model.opset_imports[""] = max(model.opset_imports[""], _OPSET)
        return ir.passes.PassResult(model, modified)


def _swished(node: ir.Node) -> ir.Value | None:
    """What a node is the HardSwish of; None where it is none."""
    if not _is(node, "Mul", "Div") or not all(map(is_float, (*node.inputs, *node.outputs))):
        return None
    factors, number = _product(node)
    if len(factors) != 2:
        return None
    for data, gate in (factors, factors[::-1]):
        slope = _slope(gate, data)
        if slope is not None and abs(slope * number - 1) < _CLOSE:
            return data
    return None


def _product(node: ir.Node, depth: int = 2) -> tuple[list[ir.Value], float]:
    """Tensors that a node multiplies, and the number that it multiplies them with.

    What another node multiplies for this one alone is looked into.
    """
    factors: list[ir.Value] = []
    number = 1.0
    for position, value in enumerate(node.inputs):
        if value is None:
            continue
        array, inner = constant(value), value.producer()
        divides = node.op_type == "Div" and position == 1
        if array is not None and array.size == 1:
            given = float(array.reshape(()))
            number = number / given if divides and given else number * given
        elif divides:
            return [], number
        elif depth and inner is not None and _is(inner, "Mul", "Div") and only_reader(value) is node:
            more, other = _product(inner, depth - 1)
            factors += more or [value]
            number *= other if more else 1.0
        else:
            factors.append(value)
    return factors, number


def _slope(gate: ir.Value, data: ir.Value) -> float | None:
    """What a gate is at its upper end, if it is clip(data + 3, 0, 6) or HardSigmoid(data) of its slope."""
    node = gate.producer()
    if node is None or not _alone(gate):
        return None
    if _is(node, "HardSigmoid") and node.inputs[0] is data:
        alpha, beta = (node.attributes.get_float(k, v) for k, v in (("alpha", 0.2), ("beta", 0.5)))
        close = alpha is not None and beta is not None
        return 1.0 if close and _near(alpha, 1 / _WIDTH) and _near(beta, _SHIFT / _WIDTH) else None
    bounds = clip_bounds(node)
    shifted = node.inputs[0]
    if bounds != (0.0, _WIDTH) or shifted is None or not _alone(shifted):
        return None
    added = shifted.producer()
    if added is None or not _is(added, "Add"):
        return None
    numbers = [float(a.reshape(())) for a in _constants(added) if a.size == 1]
    return _WIDTH if data in added.inputs and numbers == [_SHIFT] else None


def _constants(node: ir.Node) -> Iterator[np.ndarray]:
    return (array for value in node.inputs if (array := constant(value)) is not None)


def _alone(value: ir.Value) -> bool:
    return only_reader(value) is not None


def _is(node: ir.Node, *operators: str) -> bool:
    return not node.domain and node.op_type in operators


def _near(found: float | None, wanted: float) -> bool:
    return found is not None and abs(found - wanted) < _CLOSE
