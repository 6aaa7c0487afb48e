"""MSE: the threshold of the least squared error of the real quantizer, by search (REFERENCE.md 2.7)."""

from __future__ import annotations

import numpy as np

from distq.calibration.buckets import OCTAVES, Floats
from distq.calibration.histogram import Distribution
from distq.calibration.methods.grid import MOST_LEVELS, GridError
from distq.calibration.methods.levels import magnitude_levels

_PER_OCTAVE = 8
_COARSE = 2.0 ** (-np.arange(OCTAVES * _PER_OCTAVE) / _PER_OCTAVE)
_FINE = np.linspace(_COARSE[1], 1 / _COARSE[1], 65)
_FINER = np.linspace(1 - (_FINE[1] - _FINE[0]), 1 + (_FINE[1] - _FINE[0]), 33)
_LEVELS_OF_UINT8 = 256


def mse(distribution: Distribution, bins: int, levels: int | None) -> float:  # noqa: ARG001  # a Method
    """T of the least sum of count * (x - Q(x))^2 over bucket centers, coarse to fine, at most max |x|.

    Q is uint8 over [0, T] where never negative; else, by default, uint8 over [max(min, -T), min(max, T)] with
    its zero point rounded. ``levels`` asks for a symmetric grid with that many levels of |x|. Of equal errors
    the largest T wins. T is max |x| where there are more than ``grid.MOST_LEVELS``.
    """
    lopsided = levels is None and not distribution.is_non_negative
    levels = _LEVELS_OF_UINT8 if lopsided else magnitude_levels(distribution, levels)
    if levels > MOST_LEVELS:
        return distribution.absmax
    error = GridError.of(*(distribution.values() if lopsided else distribution.magnitudes()))
    steps = levels - 1

    def losses(thresholds: Floats) -> Floats:
        low = np.maximum(distribution.min, -thresholds) if lopsided else np.zeros(thresholds.size)
        high = np.clip(distribution.max, 0, thresholds) if lopsided else thresholds
        scales = (high - low) / steps
        return error.squared_error(scales, np.rint(-low / scales).astype(np.int64), steps)

    best = distribution.absmax
    for factors in (_COARSE, _FINE, _FINER):
        thresholds = np.unique(np.minimum(np.append(best, best * factors), distribution.absmax))[::-1]
        best = float(thresholds[int(np.argmin(losses(thresholds)))])
    return best
