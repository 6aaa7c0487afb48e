"""Operators that run on integers only beside others that do.

Between float operators their quantizers would cost accuracy and two conversions for nothing.
"""

from __future__ import annotations

from collections.abc import Collection
from collections.abc import Set as AbstractSet
from typing import TYPE_CHECKING

from distq.graph.layers import (
    ACTIVATIONS,
    float_data,
    gates,
    has_constant_operand,
    is_gate,
    saturating_follower,
)
from distq.graph.linear import bias_add, can_write_float
from distq.graph.values import constant, is_float
from distq.targets.operators import ABSORBING, ARITHMETIC, GATES, PASS_THROUGH, PICKING, SWISHES

if TYPE_CHECKING:
    import onnx_ir as ir

_PARTS = PICKING | {"Slice"}
"""Each of their outputs is a part of their input, and has a better range of its own."""

_POOLS = frozenset({"MaxPool", "GlobalMaxPool"})
"""Behind float they have fewer values to round, and ONNX Runtime's integer kernel is slow there."""

_WITH_CONSTANT = ARITHMETIC | {"Sub", "Div"}
"""With a constant they belong to the activation or the kernel before them."""


def depends_on_neighbours(node: ir.Node) -> bool:
    """Whether an operator that has an integer kernel runs on it only beside other integer kernels.

    One that picks values shares the quantizer of its input, which an integer kernel has to write. Arithmetic
    with a constant writes a tensor with a quantizer of its own, which integer kernels alone have to read; so
    does an activation that is made up of arithmetic.
    """
    return not node.domain and (node.op_type in PICKING | SWISHES or has_constant_operand(node))


def stranded(
    integer: Collection[ir.Node],
    layers: Collection[ir.Node] = (),
    groups: Collection[ir.Node] = (),
    able: AbstractSet[str] = frozenset(),
) -> dict[ir.Node, str]:
    """Those of some nodes that are better left in float for what stands beside them, each with the reason.

    Args:
        integer: nodes that have integer kernels.
        layers: those of them that are layers, which stay.
        groups: nodes of operations that many nodes make together.
        able: operators whose integer kernels can write float.
    """
    found: dict[ir.Node, str] = {}
    while True:
        beside = _Beside(integer, layers, groups, able, found)
        more = {
            node: why
            for node in integer
            if node not in found and node not in layers and (why := beside.why_float(node)) is not None
        }
        if not more:
            return found
        found |= more


def keeps_float(node: ir.Node, integer: Collection[ir.Node], able: AbstractSet[str]) -> bool:
    """Whether a layer's kernel is better told to write float: it can, and no integer kernel reads that.

    Args:
        node: of a layer.
        integer: all that runs on integers.
        able: operators whose integer kernels can write float.
    """
    return can_write_float(node, able) and not any(r in integer for r in _readers(follower_of(node)))


def follower_of(node: ir.Node) -> ir.Node:
    """The last node of a kernel: the Relu or Clip that it absorbs, the Add of a bias, or itself."""
    follower = saturating_follower(node) if node.op_type in ABSORBING else None
    return follower or bias_add(node) or node


class _Beside:
    """What stands beside nodes, where some have turned out to stay in float."""

    def __init__(
        self,
        integer: Collection[ir.Node],
        layers: Collection[ir.Node],
        groups: Collection[ir.Node],
        able: AbstractSet[str],
        floats: Collection[ir.Node],
    ) -> None:
        self._layers, self._groups, self._able, self._floats = layers, groups, able, floats
        self._kept = set(integer) - set(floats)
        self._integers: dict[ir.Value, bool] = {}

    def why_float(self, node: ir.Node) -> str | None:
        """Why a node is left in float, if it is."""
        if depends_on_neighbours(node) and (why := self._dependent(node)) is not None:
            return why
        if (why := self._of_gate(node)) is not None:
            return why
        data = [v for v in float_data(node) if constant(v) is None]
        written = [self._writes_integers(v) for v in data]
        read = self._read_on_integers(node)
        if node.op_type in ARITHMETIC:
            in_float = not all(written) or any(map(self._is_of_transformer, data))
            alone = not any(written) or (not read and in_float)
        elif node.op_type == "Concat":  # a cache of keys, which is an input: as float as what is joined to it
            alone = not read and not any(w for w, v in zip(written, data, strict=True) if v.producer())
        else:
            alone = not any(written) and (not read or node.op_type in _PARTS | _POOLS)
        return f"{node.op_type} between operators in float" if alone else None

    def _dependent(self, node: ir.Node) -> str | None:
        if not all(constant(v) is not None or self._is_written(v) for v in float_data(node)):
            return f"{node.op_type} reads what is computed in float"
        if node.op_type not in PICKING and not self._read_on_integers(node):
            return f"{node.op_type}{'' if node.op_type in SWISHES else ' with a constant'} is read in float"
        return None

    def _of_gate(self, node: ir.Node) -> str | None:
        """Why one of the two nodes of a SiLU is in float: beside a layer in float it takes no time there.

        Its quantizers would round what that layer reads or writes.
        """
        if is_gate(node, GATES):
            before = [v.producer() for v in node.inputs if v is not None]
            sigmoid = next(p for p in before if p is not None and p.op_type in GATES)
        elif node.op_type in GATES and gates(node):
            sigmoid = node
        else:
            return None
        data, readers = sigmoid.inputs[0], _readers(node)
        if data is not None and self._kernel(data) is None and not self._writes_integers(data):
            return f"{node.op_type} reads what is computed in float"
        return f"{node.op_type} is read in float" if readers and self._kept.isdisjoint(readers) else None

    def _read_on_integers(self, node: ir.Node) -> bool:
        """Whether integer kernels alone read what a node writes, a Relu or Clip behind it included."""
        last = follower_of(node)
        return not any(v.is_graph_output() for v in last.outputs) and all(
            reader in self._kept for reader in _readers(last)
        )

    def _is_written(self, value: ir.Value) -> bool:
        """Whether an integer kernel writes a value, a Relu or Clip behind it included."""
        kernel = self._kernel(value)
        return kernel is not None and not self._can_write_float(kernel)

    def _can_write_float(self, kernel: ir.Node) -> bool:
        return kernel in self._layers and can_write_float(kernel, self._able)

    def _kernel(self, value: ir.Value) -> ir.Node | None:
        """The integer kernel that a value comes from: its node, or one in front of a bias and a Relu."""
        node = value.producer()
        if node is None or node in self._kept:
            return node
        before: ir.Node | None = node
        for _ in range(2):
            data = before.inputs[0] if before is not None and before.inputs else None
            before = None if data is None else data.producer()
            if before is not None and before in self._kept:
                return before if node in {follower_of(before), bias_add(before)} else None
        return None

    def _writes_integers(self, value: ir.Value) -> bool:
        """Whether a value is an integer kernel's, or an activation of one: it is quantized in any case."""
        if value not in self._integers:
            self._integers[value] = False
            self._integers[value] = self._looked_up(value)
        return self._integers[value]

    def _looked_up(self, value: ir.Value) -> bool:
        node = value.producer()
        if node is None:
            return True
        if node in self._kept and node.op_type in PASS_THROUGH:
            return self._writes_integers(float_data(node)[0])
        if self._kernel(value) is not None:
            return self._is_written(value)
        data = [v for v in node.inputs if v is not None and is_float(v) and constant(v) is None]
        by_constant = node.op_type in _WITH_CONSTANT and len(data) == 1
        if not by_constant and (
            node in self._floats
            or not (node.op_type in ACTIVATIONS | {"Softmax"} or is_gate(node) or node in self._groups)
        ):
            return False
        return bool(data) and all(map(self._writes_integers, data))

    def _is_of_transformer(self, value: ir.Value) -> bool:
        """Whether a MatMul writes a value, or a node that was left in float for that."""
        node = value.producer()
        kernel = self._kernel(value)
        return node in self._floats or (kernel is not None and self._can_write_float(kernel))


def _readers(node: ir.Node) -> list[ir.Node]:
    return [use.node for output in node.outputs for use in output.uses()]
