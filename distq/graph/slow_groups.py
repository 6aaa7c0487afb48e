"""Grouped convolutions of few channels a group, which stay float where that is predicted to be faster.

An integer kernel goes through the groups one by one. With four channels in each, as in the first stages of a
ResNeXt, it takes three times as long as float does.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from distq.graph.network_cost import LEAST_MULTIPLICATIONS, multiplications
from distq.graph.predicted import grouped_positions, time_of, time_to_enter

if TYPE_CHECKING:
    import onnx_ir as ir

    from distq.targets.times import KernelTimes

REASON = "a convolution in groups of few channels, faster in float: --float-if-faster never keeps it in INT8"


def slow_groups(model: ir.Model, times: KernelTimes) -> tuple[tuple[str, str], ...]:
    """Names of these convolutions' nodes, each with the reason.

    Args:
        model: in canonical form.
        times: what kernels take.
    """
    return tuple((node.name or "", REASON) for node in model.graph if _is_slow(node, times))


def _is_slow(node: ir.Node, times: KernelTimes) -> bool:
    data = node.inputs[0] if node.inputs else None
    if data is None or not grouped_positions(node) or multiplications(node) < LEAST_MULTIPLICATIONS:
        return False
    turned = time_to_enter(data, times.in_float) + time_to_enter(node.outputs[0], times.int8)
    return time_of(node, times.int8, times) > time_of(node, times.in_float, times) + turned
