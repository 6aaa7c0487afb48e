"""How far a threshold may clip."""

from __future__ import annotations

import numpy as np

from distq.calibration.histogram import Distribution
from distq.calibration.methods.levels import magnitude_levels

MOST_CLIPPING = 256.0
"""Squared error of clipping at most, in squared errors of rounding over [0, max |x|]: 24 dB, or four bits.

What all methods choose on six networks (docs/search.md) stays below it, up to 23.6 dB, but for JSD on one
tensor of MobileNet.
"""

MOST_ENERGY = 2 / 3
"""Squared error of clipping at most, as a part of sum(x^2); on the same networks it is up to a third."""


def least_threshold(distribution: Distribution, levels: int | None) -> float:
    """The smallest threshold whose clipping stays below ``MOST_CLIPPING`` and ``MOST_ENERGY``.

    Clipping costs sum(max(|x| - T, 0)^2). Rounding costs s^2 / 12 for each value that is not zero, with step
    s = max |x| / levels: the mean square of an error spread evenly over a step. T is the center of a bucket.

    Args:
        distribution: of a tensor that is not always zero.
        levels: quantization levels of |x|; None: as ``magnitude_levels`` says.

    Returns:
        A threshold above 0 and at most max |x|.
    """
    values, counts = distribution.magnitudes()
    moments = values * counts
    above, first, second = (np.cumsum(x[::-1])[::-1] for x in (counts, moments, moments * values))
    clipping = second - 2 * values * first + values**2 * above
    step = distribution.absmax / magnitude_levels(distribution, levels)
    allowed = min(MOST_CLIPPING * step**2 / 12 * float(above[0]), MOST_ENERGY * float(second[0]))
    enough = np.flatnonzero(clipping <= allowed)  # not empty: nothing is clipped by the last value
    return min(float(values[enough[0]]), distribution.absmax)
