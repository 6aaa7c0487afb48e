"""SYMKL: the symmetric Kullback-Leibler divergence (REFERENCE.md 2.3)."""

from __future__ import annotations

import numpy as np

from distq.calibration.buckets import Floats
from distq.calibration.histogram import Distribution
from distq.calibration.methods.divergence import least_divergence, logarithm


def symkl(distribution: Distribution, bins: int, levels: int | None) -> float:
    """T of the least KL(P||Q) + KL(Q||P).

    Both logarithms carry KL's own 1e-30: where Q is 0 and P is not (clipped values on an empty bin) it acts
    as the same near-infinite penalty; where P is 0 so is Q.
    """
    return least_divergence(distribution, bins, levels, symmetric_divergence, curvature=2)


def symmetric_divergence(p: Floats, q: Floats) -> float:
    """KL(P||Q) + KL(Q||P)."""
    return float(np.sum((p - q) * (logarithm(p) - logarithm(q))))
