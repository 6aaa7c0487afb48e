"""What a threshold comes to on the quantizer of a tensor: its range and its encoding."""

from __future__ import annotations

from distq.graph.plan import Plan, Quantizer
from distq.quant.scheme import encode, threshold_range
from distq.quant.table import Row


def make_row(
    plan: Plan, quantizer: Quantizer, chosen: float, observed: tuple[float, float], method: str
) -> Row:
    """The row of a threshold.

    Range [max(min, -T), min(max, T)] within the quantizer's own bounds, and its encoding.
    """
    low, high = threshold_range(*observed, chosen)
    low, high = (0.0 if quantizer.non_negative else low), min(high, quantizer.cap)
    symmetric = plan.scheme == "symmetric"
    if symmetric:
        high = max(-low, high)
        low = -high
    encoding = encode(low, high, quantizer.bits, symmetric=symmetric, signed=plan.target.signed)
    steps = 2 ** (quantizer.bits - 1) - 1 if symmetric else 2**quantizer.bits - 1
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
