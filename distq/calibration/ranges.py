"""The range of values that one threshold stands for."""

from __future__ import annotations

from distq.calibration.histogram import Distribution

SMALLEST_THRESHOLD = 2.0**-100
"""No threshold is below this (7.9e-31), so that every scale made from one is a normal float32."""

ALL_ZERO_THRESHOLD = 1.0
"""Threshold of a tensor that is always zero: any keeps zero exact, and this one divides by no zero."""


def tensor_range(distribution: Distribution, threshold: float) -> tuple[float, float]:
    """The quantizer's range [max(observed min, -T), min(observed max, T)], extended to hold 0.

    Where that would be too narrow for a scale (a tensor that is always zero, or below
    ``SMALLEST_THRESHOLD``), the observed magnitudes are not looked at: [0, T], or [-T, T] where negative.

    Returns:
        (low, high) with low <= 0 <= high and low < high.
    """
    if distribution.absmax < SMALLEST_THRESHOLD:
        return (0.0 if distribution.is_non_negative else -threshold), threshold
    low = max(min(distribution.min, 0.0), -threshold)
    high = min(max(distribution.max, 0.0), threshold)
    return low, high
