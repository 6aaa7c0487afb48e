"""What a threshold comes to on the quantizer of a tensor: its range and its encoding."""

from __future__ import annotations

from distq.config import Scheme, Target
from distq.graph.plan import Plan, Quantizer
from distq.quant.scheme import Encoding, encode, threshold_range
from distq.quant.table import Row


def make_row(
    plan: Plan, quantizer: Quantizer, chosen: float, observed: tuple[float, float], method: str
) -> Row:
    """The row of a threshold.

    Range [max(min, -T), min(max, T)] within the quantizer's own bounds, and its encoding.
    """
    low, high = threshold_range(*observed, chosen)
    low, high = (0.0 if quantizer.non_negative else low), max(min(high, quantizer.cap), quantizer.least_high)
    if plan.scheme == "symmetric":
        high = max(-low, high)
        low = -high
    encoding = _encode(plan.target, plan.scheme, low, high, quantizer.bits)
    steps = 2 ** (quantizer.bits - 1) - 1 if plan.scheme == "symmetric" else 2**quantizer.bits - 1
    return Row(
        threshold=chosen,
        min=low,
        max=high,
        observed_min=observed[0],
        observed_max=observed[1],
        bits=quantizer.bits,
        signed=encoding.signed,
        scale=encoding.scale,
        zero_point=encoding.zero_point,
        convention=str(steps),
        method=method,
    )


def with_threshold(plan: Plan, quantizer: Quantizer, row: Row, chosen: float, method: str) -> Row:
    """The same tensor with another threshold."""
    return make_row(plan, quantizer, chosen, (row.observed_min, row.observed_max), method)


def _encode(target: Target, scheme: Scheme, low: float, high: float, bits: int) -> Encoding:
    """ONNX Runtime's integer kernels want uint8, also for a symmetric range.

    Other targets want zero point 0.
    """
    return encode(low, high, bits, symmetric=scheme == "symmetric", signed=target != "ort")
