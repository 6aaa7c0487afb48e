"""ACIQ: the analytic optimum for the Laplace or Gauss distribution that fits the tensor (REFERENCE.md 2.5).

Banner et al., "Post training 4-bit quantization of convolutional networks", NeurIPS 2019, arXiv 1810.05723.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import cache

import numpy as np

from distq.calibration.histogram import Distribution
from distq.calibration.methods.levels import magnitude_levels

_LAPLACE_BELOW = math.sqrt(math.pi / (2 * math.e))


def aciq(distribution: Distribution, bins: int, levels: int | None) -> float:  # noqa: ARG001  # a Method
    """T = |mean| + alpha * b (Laplace) or |mean| + alpha * s (Gauss), at most max |x|.

    b is the mean absolute deviation, s the standard deviation. A tensor that is never negative is one half
    of a symmetric one around 0: its mean is taken as 0, exact zeros (Relu's) are left out, and its 256 levels
    are those of one bit more. Laplace is chosen where its likelihood is higher: b / s < sqrt(pi / 2e) = 0.76.
    """
    if distribution.is_non_negative:
        values, counts = distribution.magnitudes()
        mean, total = 0.0, distribution.total - distribution.zeros
    else:
        values, counts = distribution.values()
        total = distribution.total
        mean = float(np.sum(values * counts)) / total
    zeros = total - int(counts.sum())
    deviation = (float(np.sum(np.abs(values - mean) * counts)) + abs(mean) * zeros) / total
    variance = (float(np.sum((values - mean) ** 2 * counts)) + mean**2 * zeros) / total
    bits = 1 + math.log2(magnitude_levels(distribution, levels))
    if deviation < _LAPLACE_BELOW * math.sqrt(variance):
        limit = laplace_alpha(bits) * deviation
    else:
        limit = gauss_alpha(bits) * math.sqrt(variance)
    return min(abs(mean) + limit, distribution.absmax)


@cache
def laplace_alpha(bits: float) -> float:
    """The minimum over a of 2 exp(-a) + a^2 / (3 * 4^bits): T / b of a Laplace distribution."""
    return _root(lambda a: a / (3 * 4**bits) - math.exp(-a))


@cache
def gauss_alpha(bits: float) -> float:
    """The minimum over a of (1 + a^2) erfc(a / sqrt 2) - sqrt(2/pi) a exp(-a^2 / 2) + a^2 / (3 * 4^bits)."""

    def slope(a: float) -> float:
        tail = a * math.erfc(a / math.sqrt(2)) - math.sqrt(2 / math.pi) * math.exp(-a * a / 2)
        return tail + a / (3 * 4**bits)

    return _root(slope)


def _root(slope: Callable[[float], float]) -> float:
    """Where an ascending function of (0, 64) crosses 0, by bisection to the last bit."""
    low, high = 0.0, 64.0
    while low < (middle := (low + high) / 2) < high:
        low, high = (middle, high) if slope(middle) < 0 else (low, middle)
    return middle
