"""KL: the entropy calibration of Bitmain and CVITEK (REFERENCE.md 2.1)."""

from __future__ import annotations

import numpy as np

from distq.calibration.buckets import Floats
from distq.calibration.histogram import Distribution
from distq.calibration.methods.divergence import least_divergence, logarithm


def kl(distribution: Distribution, bins: int, levels: int | None) -> float:
    """T of the least KL(P||Q) of REFERENCE.md 2.1, without the cuts that ``least_divergence`` leaves out."""
    return least_divergence(distribution, bins, levels, kl_divergence)


def kl_divergence(p: Floats, q: Floats) -> float:
    """Sum of P (log10(P + 1e-30) - log10(Q + 1e-30))."""
    return float(np.sum(p * (logarithm(p) - logarithm(q))))
