"""ADMM: the scale and the rounded values are fitted to each other in turn (REFERENCE.md 2.4).

Leng et al., "Extremely Low Bit Neural Network: Squeeze the Last Bit Out with ADMM", AAAI 2018; MNN's
``computeScaleADMM`` iterates on raw features, this one on the histogram's buckets, which suffice.
"""

from __future__ import annotations

import numpy as np

from distq.calibration.histogram import Distribution
from distq.calibration.methods.grid import MOST_LEVELS, GridError
from distq.calibration.methods.levels import magnitude_levels

_SCAN = 2.0 ** (-np.arange(80) / 8)
"""First thresholds as parts of max |x|, 10 octaves; the errors at these choose the starts."""

_STARTS = 4
_ITERATIONS = 100
_CONVERGED = 1e-6


def admm(distribution: Distribution, bins: int, levels: int | None) -> float:  # noqa: ARG001  # a Method
    """T = (levels - 1) * a, with a of the least error among what several starts converge to.

    Repeats q = clip(round(|x| / a)), a = sum(q |x|) / sum(q^2). One step moves a by about 1 / (12 mean q^2)
    of itself, so 300 steps from one start (MNN) end far from the optimum; these start next to it. T is at
    most max |x|, and that where there are more than ``grid.MOST_LEVELS``.
    """
    steps = magnitude_levels(distribution, levels) - 1
    if steps >= MOST_LEVELS:
        return distribution.absmax
    error = GridError.of(*distribution.magnitudes())
    scan = _SCAN * distribution.absmax / steps
    scales = scan[np.argsort(error.squared_error(scan, np.zeros(scan.size, np.int64), steps))[:_STARTS]]
    zero_points = np.zeros(scales.size, np.int64)
    for _ in range(_ITERATIONS):
        first, second = error.sums(scales, zero_points, steps)
        previous, scales = scales, first / second
        if np.all(np.abs(scales - previous) <= _CONVERGED * previous):
            break
    best = scales[int(np.argmin(error.squared_error(scales, zero_points, steps)))]
    return min(float(best) * steps, distribution.absmax)
