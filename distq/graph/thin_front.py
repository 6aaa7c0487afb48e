"""Convolutions of few channels at the input, which stay float where INT8 as a whole is slower than float.

An integer kernel reads channels by the pixel. A convolution of one or three channels, and a depthwise one
behind it, fills its registers badly, and their image has to be rounded and turned around before.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from distq.graph.layers import float_data
from distq.graph.network_cost import LEAST_MULTIPLICATIONS, multiplications
from distq.graph.predicted import is_thin
from distq.graph.values import constant
from distq.targets.operators import LAYERS

if TYPE_CHECKING:
    import onnx_ir as ir

    from distq.targets.times import KernelTimes

REASON = (
    "a convolution of few channels at the input, faster in float: --float-if-faster never keeps it in INT8"
)


def thin_front(model: ir.Model, times: KernelTimes) -> tuple[tuple[str, str], ...]:
    """Names of these convolutions' nodes, each with the reason; empty where they do next to nothing.

    Args:
        model: in canonical form.
        times: what is few.
    """
    reached: set[ir.Value | None] = set(model.graph.inputs)
    found: list[ir.Node] = []
    for node in model.graph:
        if node.op_type == "Cast" and node.inputs[0] in reached:  # of a network that was stored in float16
            reached.update(node.outputs)
        data = [value for value in float_data(node) if constant(value) is None]
        if not data or not reached.issuperset(data):
            continue
        if node.op_type in LAYERS:
            if not is_thin(node, times.few):
                continue
            found.append(node)
        reached.update(node.outputs)
    if sum(map(multiplications, found)) < LEAST_MULTIPLICATIONS:
        return ()
    return tuple((node.name or "", REASON) for node in found)
