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
from distq.calibration.methods.clipping import least_threshold
from distq.calibration.methods.levels import magnitude_levels

Divergence = Callable[[Floats, Floats], float]
"""From the probabilities P > 0 of the clipped histogram and Q of its quantized form, bin by bin."""

SPIKE_SHARE = 1 / 16
"""Of the values that are not zero, more than this in one bucket are a spike.

On six networks (docs/search.md) it moves no threshold by KL or SYMKL; 1/32 would move two of RFB-320.
"""

_TINY = 1e-30


def logarithm(probabilities: Floats) -> Floats:
    """log10(p + 1e-30): finite at 0, where it acts as a near-infinite penalty."""
    result: Floats = np.log10(probabilities + _TINY)
    return result


def least_divergence(
    distribution: Distribution, bins: int, levels: int | None, divergence: Divergence, curvature: float = 1
) -> float:
    """T = w * i of the first least divergence among i = B, 2B, ..., N; N is raised to a multiple of B.

    Spikes (``without_spikes``) are left out of the histogram, as exact zeros are, and are never clipped: to
    spread one value over the bins of its group costs a divergence, but no precision. What
    ``least_threshold`` forbids is no candidate.

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
    histogram, spikes_end = without_spikes(distribution, edges)
    least = max(width * spikes_end, least_threshold(distribution, levels))
    candidates = [kept for kept in range(levels, bins + 1, levels) if width * kept >= least]
    if not histogram.any():
        return width * bins
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


def without_spikes(distribution: Distribution, edges: Floats) -> tuple[Floats, int]:
    """The histogram of |x| between ``edges``, and the number of bins up to and with the last spike, or 0.

    A spike is a bucket with over ``SPIKE_SHARE`` of the values that are not zero: one value, as buckets are
    1/2048 octave wide. The bins it lies in are emptied; there are two where an edge crosses it.
    """
    histogram = distribution.magnitude_histogram(edges)
    counts = distribution.magnitude_counts()
    spikes = np.flatnonzero(counts > SPIKE_SHARE * counts.sum())
    end = 0
    for low, high in zip(
        distribution.bucket_edges()[spikes], distribution.bucket_edges()[spikes + 1], strict=True
    ):
        end = int(np.searchsorted(edges, min(high, distribution.absmax), side="right"))
        histogram[np.searchsorted(edges, low, side="right") - 1 : end] = 0
    return histogram, end


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

    Infinite where nothing is left in the bins that are kept. Also where values are clipped onto a bin that
    holds more than all others that are kept: P and Q then agree there, however much is clipped.
    """
    inside = histogram[:kept]
    mass = inside.sum()
    if mass == 0 or (inside[-1] > mass / 2 and histogram[kept:].any()):
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
