"""Ends of a tensor's range where all that reads it is flat: a quantizer need not reach there."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import onnx_ir as ir

Range = tuple[float, float]

EVERYTHING: Range = (float("-inf"), float("inf"))

_SWISH_ENDS = -3.0
"""HardSwish is 0 below (ONNX operators, HardSwish-14)."""


def range_read(value: ir.Value) -> Range:
    """Between which values a tensor's readers tell one from another; zero lies between.

    Half or more of what stands in front of a HardSwish may be below -3, and becomes 0 like -3 itself: what a
    quantizer spends on it is lost to the rest.
    """
    if value.is_graph_output() or not value.uses():
        return EVERYTHING
    ranges = [_of_reader(use.node) for use in value.uses()]
    return min(low for low, _ in ranges), max(high for _, high in ranges)


def _of_reader(node: ir.Node) -> Range:
    if node.domain:
        return EVERYTHING
    if node.op_type == "HardSwish":
        return _SWISH_ENDS, EVERYTHING[1]
    if node.op_type == "HardSigmoid":
        slope, middle = node.attributes.get_float("alpha", 0.2), node.attributes.get_float("beta", 0.5)
        if slope is not None and middle is not None and slope > 0 and 0 <= middle <= 1:
            return -middle / slope, (1 - middle) / slope
    return EVERYTHING
