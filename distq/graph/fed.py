"""Nodes that cannot run where scales and zero points are fed, written in another way."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from collections.abc import Set as AbstractSet

import onnx
from onnx.helper import make_node


def for_fed_numbers(nodes: Iterable[onnx.NodeProto], fed: AbstractSet[str]) -> list[onnx.NodeProto]:
    """The nodes, with each Where on integers in float between quantizers.

    ONNX Runtime's QLinearWhere makes tables of its scales when it is loaded. Where one is no constant the
    process ends. A Max of one input keeps a Where and the quantizer behind it from becoming one. The
    integers are the same.
    (onnxruntime/contrib_ops/cpu/quantization/qlinear_where.cc of ONNX Runtime 1.31)

    Args:
        nodes: of a part of a network, in order.
        fed: constants that become inputs of it; without any the nodes stay as they are.
    """
    given = list(nodes)
    if not fed:
        return given
    quantized = {node.input[0] for node in given if node.op_type == "QuantizeLinear"}
    return [new for node in given for new in _rewritten(node, quantized, fed)]


def _rewritten(
    node: onnx.NodeProto, quantized: Collection[str], fed: AbstractSet[str]
) -> Iterator[onnx.NodeProto]:
    if node.op_type == "QLinearWhere" and not fed.isdisjoint(node.input):
        condition, *numbers, scale, zero_point = node.input
        (out,) = node.output
        parts = [f"{out} of {name}" for name in ("x", "y", "chosen", "kept")]
        yield make_node("DequantizeLinear", numbers[:3], parts[:1])
        yield make_node("DequantizeLinear", numbers[3:], parts[1:2])
        yield make_node("Where", [condition, *parts[:2]], parts[2:3], name=node.name)
        yield make_node("Max", parts[2:3], parts[3:])
        yield make_node("QuantizeLinear", [parts[3], scale, zero_point], [out])
    elif node.op_type == "Where" and node.output[0] in quantized:
        (out,) = node.output
        yield make_node("Where", node.input, [f"{out} of chosen"], name=node.name)
        yield make_node("Max", [f"{out} of chosen"], [out])
    else:
        yield node
