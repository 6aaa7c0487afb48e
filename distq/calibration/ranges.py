"""The range of values that one threshold stands for."""

from __future__ import annotations

from distq.calibration.histogram import Distribution
from distq.quant.scheme import SMALLEST_THRESHOLD, threshold_range

__all__ = ["ALL_ZERO_THRESHOLD", "SMALLEST_THRESHOLD", "tensor_range"]

ALL_ZERO_THRESHOLD = 1.0
"""Threshold of a tensor that is always zero: any keeps zero exact, and this one divides by no zero."""


def tensor_range(distribution: Distribution, threshold: float) -> tuple[float, float]:
    """The quantizer's range [max(observed min, -T), min(observed max, T)], extended to hold 0.

    Where that would be too narrow for a scale (a tensor that is always zero, or below
    ``SMALLEST_THRESHOLD``), the observed magnitudes are not looked at: [0, T], or [-T, T] where negative.

    Returns:
        (low, high) with low <= 0 <= high and low < high.
    """
    return threshold_range(distribution.min, distribution.max, threshold)
