"""Bring an Einsum of two operands that is one product of matrices into a MatMul."""

from __future__ import annotations

import re
from dataclasses import dataclass

import numpy as np
import onnx_ir as ir

from distq.graph.edits import add_initializer, new_node, take_over
from distq.graph.values import constant, is_float

_EQUATION = re.compile(r"([a-zA-Z]+),([a-zA-Z]+)->([a-zA-Z]+)")


class PlainEinsum(ir.passes.InPlacePass):
    """Einsum of a tensor and constant weights, or of two tensors, becomes MatMul, the operator layers have.

    * The equation has an arrow, and no letter twice in a term; every letter of a term is in another one too.
    * With constant weights any number of dimensions is summed over and made: ``bsd,dhk->bshk``.
    * With two tensors one dimension is summed over, and one of each is kept beside those that both have:
      ``bqhd,bkhd->bhqk``.
    * Transposes and reshapes stand around the MatMul where the order of dimensions asks for them.
    """

    def call(self, model: ir.Model) -> ir.passes.PassResult:
        """Rewrite each such node in place."""
        modified = False
        for node in list(model.graph):
            if node.op_type != "Einsum" or node.domain or len(node.inputs) != 2:
                continue
            if not all(map(is_float, (*node.inputs, *node.outputs))):
                continue
            terms = _Terms.of(node.attributes.get_string("equation", ""))
            if terms is not None:
                modified |= _by_weights(model.graph, node, terms) or _by_tensor(model.graph, node, terms)
        return ir.passes.PassResult(model, modified)


@dataclass(frozen=True)
class _Terms:
    """Letters of the operands and the result, in order."""

    left: str
    right: str
    result: str

    @classmethod
    def of(cls, equation: str) -> _Terms | None:
        found = _EQUATION.fullmatch(equation.replace(" ", ""))
        if found is None or any(len(set(term)) != len(term) for term in found.groups()):
            return None
        terms = cls(*found.groups())
        letters = [set(term) for term in (terms.left, terms.right, terms.result)]
        alone = any(letter for i in range(3) for letter in letters[i] - letters[i - 1] - letters[i - 2])
        return None if alone else terms

    @property
    def swapped(self) -> _Terms:
        return _Terms(self.right, self.left, self.result)

    @property
    def summed(self) -> str:
        """Letters that are summed over, in the order of the left operand."""
        return "".join(c for c in self.left if c in self.right and c not in self.result)

    @property
    def shared(self) -> str:
        """Letters that all have, in the order of the result."""
        return "".join(c for c in self.result if c in self.left and c in self.right)

    @property
    def rows(self) -> str:
        """Letters of the left operand alone, in the order of the result."""
        return "".join(c for c in self.result if c not in self.right)

    @property
    def columns(self) -> str:
        """Letters of the right operand alone, in the order of the result."""
        return "".join(c for c in self.result if c not in self.left)


def _by_weights(graph: ir.Graph, node: ir.Node, terms: _Terms) -> bool:
    """A tensor times constant weights: all of their dimensions are summed over or made."""
    (data, weights), arrays = node.inputs, [constant(v) for v in node.inputs]
    if arrays[0] is not None:
        (data, weights), arrays, terms = (weights, data), arrays[::-1], terms.swapped
    array = arrays[1]
    if data is None or arrays[0] is not None or array is None or array.ndim != len(terms.right):
        return False
    if terms.shared or not (terms.summed and terms.rows and terms.columns):
        return False
    summed, rows, columns = terms.summed, terms.rows, terms.columns
    ordered = array.transpose([terms.right.index(letter) for letter in summed + columns])
    sizes = ordered.shape[len(summed) :]
    matrix = np.ascontiguousarray(ordered.reshape(-1, int(np.prod(sizes))))
    name = node.outputs[0].name
    data = _turned(node, data, (terms.left, rows + summed), "turned")
    if len(summed) > 1:
        flat = _shape(graph, len(rows), matrix.shape[:1], f"{name}_rows_shape")
        data = new_node(graph, node, ir.node("Reshape", [data, flat]), f"{name}_rows")
    weight = add_initializer(graph, f"{name}_weight", matrix)
    last = ir.node("MatMul", [data, weight], name=node.name or f"MatMul_{name}")
    if len(columns) > 1:
        product = new_node(graph, node, last, f"{name}_product")
        last = ir.node("Reshape", [product, _shape(graph, len(rows), sizes, f"{name}_shape")])
    _finish(graph, node, last, rows + columns, terms.result)
    return True


def _by_tensor(graph: ir.Graph, node: ir.Node, terms: _Terms) -> bool:
    """A product of two tensors, for each of the dimensions that both have."""
    left, right = node.inputs
    shared, rows, summed, columns = terms.shared, terms.rows, terms.summed, terms.columns
    if left is None or right is None or any(constant(v) is not None for v in (left, right)):
        return False
    if not len(rows) == len(summed) == len(columns) == 1:
        return False
    name = node.outputs[0].name
    left = _turned(node, left, (terms.left, shared + rows + summed), "left")
    right = _turned(node, right, (terms.right, shared + summed + columns), "right")
    last = ir.node("MatMul", [left, right], name=node.name or f"MatMul_{name}")
    _finish(graph, node, last, shared + rows + columns, terms.result)
    return True


def _turned(node: ir.Node, value: ir.Value, order: tuple[str, str], ending: str) -> ir.Value:
    """A value with its dimensions in another order, had and wanted, by a Transpose where these differ."""
    has, wanted = order
    graph = node.graph
    if has == wanted or not isinstance(graph, ir.Graph):
        return value
    turned = ir.node("Transpose", [value], {"perm": [has.index(letter) for letter in wanted]})
    return new_node(graph, node, turned, f"{node.outputs[0].name}_{ending}")


def _shape(graph: ir.Graph, kept: int, sizes: tuple[int, ...], name: str) -> ir.Value:
    """What a Reshape is told that keeps the first dimensions, whatever their sizes."""
    return add_initializer(graph, name, np.array([*[0] * kept, *sizes], np.int64))


def _finish(graph: ir.Graph, node: ir.Node, last: ir.Node, has: str, wanted: str) -> None:
    name = node.outputs[0].name
    if has != wanted:
        value = new_node(graph, node, last, f"{name}_unordered")
        last = ir.node("Transpose", [value], {"perm": [has.index(c) for c in wanted]})
    last.name = last.name or f"{last.op_type}_{name}"
    graph.insert_before(node, last)
    take_over(last.outputs[0], node)
