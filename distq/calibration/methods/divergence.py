"""The cut of a histogram that the quantizer's levels describe with the least divergence.

What KL, SYMKL and JSD share: REFERENCE.md 2.1, from Bitmain's ``calibration_math``.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from distq.calibration.buckets import Floats
from distq.calibration.histogram import Distribution
from distq.calibration.methods.levels import magnitude_levels

Divergence = Callable[[Floats, Floats], float]
"""From the probabilities P > 0 of the clipped histogram and Q of its quantized form, bin by bin."""

_TINY = 1e-30


def logarithm(probabilities: Floats) -> Floats:
    """log10(p + 1e-30): finite at 0, where it acts as a near-infinite penalty."""
    result: Floats = np.log10(probabilities + _TINY)
    return result


def least_divergence(
    distribution: Distribution, bins: int, levels: int | None, divergence: Divergence
) -> float:
    """T = w * i of the first least divergence among i = B, 2B, ..., N; N is raised to a multiple of B."""
    levels = magnitude_levels(distribution, levels)
    bins = -(-bins // levels) * levels
    width = distribution.absmax / (bins - 1)
    histogram = distribution.magnitude_histogram((np.arange(bins + 1) - 0.5).clip(0) * width)
    candidates = range(levels, bins + 1, levels)
    losses = [candidate_divergence(histogram, kept, levels, divergence) for kept in candidates]
    return width * candidates[int(np.argmin(losses))]


def candidate_divergence(histogram: Floats, kept: int, levels: int, divergence: Divergence) -> float:
    """The divergence when the first ``kept`` bins are quantized to ``levels`` and the rest is clipped.

    Infinite where nothing is left in the bins that are kept.
    """
    inside = histogram[:kept]
    mass = inside.sum()
    if mass == 0:
        return float("inf")
    p = inside.copy()
    p[-1] += histogram[kept:].sum()
    p /= histogram.sum()
    groups = inside.reshape(levels, -1)
    occupied = groups > 0
    spread = groups.sum(axis=1) / np.maximum(occupied.sum(axis=1), 1)
    q = (occupied * spread[:, np.newaxis]).ravel() / mass
    held = p > 0  # elsewhere q is 0 too, and adds nothing
    return divergence(p[held], q[held])
