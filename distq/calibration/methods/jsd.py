"""JSD: the Jensen-Shannon divergence (REFERENCE.md 2.3)."""

from __future__ import annotations

from distq.calibration.buckets import Floats
from distq.calibration.histogram import Distribution
from distq.calibration.methods.divergence import least_divergence
from distq.calibration.methods.kl import kl_divergence


def jsd(distribution: Distribution, bins: int, levels: int | None) -> float:
    """T of the least Jensen-Shannon divergence. It is at most log10(2), so it forbids no clipping itself."""
    return least_divergence(distribution, bins, levels, jensen_shannon_divergence, curvature=1 / 4)


def jensen_shannon_divergence(p: Floats, q: Floats) -> float:
    """Half of KL(P||M) + KL(Q||M) with M = (P + Q) / 2, in log10 as KL."""
    middle = (p + q) / 2
    return (kl_divergence(p, middle) + kl_divergence(q, middle)) / 2
