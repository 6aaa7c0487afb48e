"""Percentile: the largest magnitudes of a fixed share of all values are clipped (REFERENCE.md 2.7)."""

from __future__ import annotations

import math

import numpy as np

from distq.calibration.histogram import Distribution

PERCENT = 99.99


def percentile(distribution: Distribution, bins: int, levels: int | None) -> float:  # noqa: ARG001  # a Method
    """T = the 99.99th percentile of |x|, zeros included, between order statistics by linear interpolation.

    Order statistics in the tail are exact, others known to their bucket (1/2048 of an octave). Where less
    than 0.01 % of the values are not zero the percentile says nothing about them, and T is max |x|.
    """
    rank = (distribution.total - 1) * PERCENT / 100
    lower = _order_statistic(distribution, math.floor(rank))
    upper = _order_statistic(distribution, math.ceil(rank))
    return lower + (upper - lower) * (rank - math.floor(rank)) or distribution.absmax


def _order_statistic(distribution: Distribution, rank: int) -> float:
    """The ``rank``-th smallest magnitude, counted from 0; a bucket's values are taken as evenly spread."""
    if rank < distribution.zeros:
        return 0.0
    from_top = distribution.total - rank
    if from_top <= distribution.tail.size:
        return float(distribution.tail_magnitudes()[-from_top])
    cumulative = np.cumsum(distribution.magnitude_counts()) + distribution.zeros
    bucket = int(np.searchsorted(cumulative, rank, side="right"))
    below = int(cumulative[bucket - 1]) if bucket else distribution.zeros
    low, high = distribution.bucket_edges()[bucket : bucket + 2]
    share = (rank - below + 0.5) / (int(cumulative[bucket]) - below)
    return min(float(low + (high - low) * share), distribution.absmax)
