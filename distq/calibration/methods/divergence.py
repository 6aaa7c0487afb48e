"""The cut of a histogram that the quantizer's levels describe with the least divergence.

What KL, SYMKL and JSD share: REFERENCE.md 2.1, from Bitmain's ``calibration_math``.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import numpy.typing as npt

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
    distribution: Distribution, bins: int, levels: int | None, divergence: Divergence, curvature: float = 1
) -> float:
    """T = w * i of the first least divergence among i = B, 2B, ..., N; N is raised to a multiple of B.

    Args:
        distribution: of the tensor.
        bins: N.
        levels: B.
        divergence: in log10.
        curvature: c, where it is near c / 2 * sum((P - Q)^2 / Q) / ln 10 for P near Q.
    """
    levels = magnitude_levels(distribution, levels)
    bins = -(-bins // levels) * levels
    width = distribution.absmax / (bins - 1)
    edges = (np.arange(bins + 1) - 0.5).clip(0) * width
    histogram = distribution.magnitude_histogram(edges)
    candidates = range(levels, bins + 1, levels)
    losses = [candidate_divergence(histogram, kept, levels, divergence) for kept in candidates]
    extra = distribution.count / max(distribution.sampled, 1) - 1
    if extra:
        in_part = (histogram > 0) & (edges[1:] <= distribution.bucket_edges()[distribution.start])
        scale = curvature * extra / (2 * math.log(10) * histogram.sum())
        losses = [
            loss - scale * chance(in_part[:kept], levels)
            for loss, kept in zip(losses, candidates, strict=True)
        ]
    return width * candidates[int(np.argmin(losses))]


def chance(occupied: npt.NDArray[np.bool_], levels: int) -> int:
    """By how many bins more than one the groups of a quantized histogram are occupied.

    When each counted value stands for s, equal bins of a group come out unequal by chance: a bin of n has
    variance s n, not n as of all values. So the divergence is expected to be larger by half of s - 1 for each
    bin of a group but one, over the number of values (as in Miller, "Note on the bias of information
    estimates", 1955): the more, the more bins are kept. This is taken off, or the threshold would be too low.
    """
    return int(np.maximum(occupied.reshape(levels, -1).sum(axis=1) - 1, 0).sum())


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
