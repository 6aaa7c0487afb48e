"""Depthwise convolutions whose channels fill no registers, which stay float where INT8 is slower than float.

ONNX Runtime's integer kernel takes 16 channels at a time. Of another number it takes twice as long for each,
and three to four times as long as float.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from distq.graph.islands import is_depthwise
from distq.graph.network_cost import LEAST_MULTIPLICATIONS, multiplications
from distq.graph.values import constant

if TYPE_CHECKING:
    import onnx_ir as ir

AT_A_TIME = 16
"""Channels (measured with ONNX Runtime 1.31, docs/decisions/front-in-float.md)."""

REASON = (
    f"a depthwise convolution of channels that are no multiple of {AT_A_TIME}, faster in float: "
    "--float-if-faster never keeps it in INT8"
)


def uneven_depthwise(model: ir.Model) -> tuple[tuple[str, str], ...]:
    """Names of these convolutions' nodes, each with the reason; empty where they do next to nothing.

    Args:
        model: in canonical form.
    """
    found = [node for node in model.graph if is_depthwise(node) and _channels(node) % AT_A_TIME]
    if sum(map(multiplications, found)) < LEAST_MULTIPLICATIONS:
        return ()
    return tuple((node.name or "", REASON) for node in found)


def _channels(node: ir.Node) -> int:
    weight = constant(node.inputs[1])
    return 0 if weight is None else weight.shape[0]
