"""The buckets that magnitudes are counted in: 1/2048 of an octave wide, in a window of 16 octaves.

A float32's exponent and upper 11 mantissa bits (``bits >> 12``) number its bucket, so counting needs no
range. A window ends with the octave of the largest magnitude; what is smaller than its 32768 buckets falls
into bucket 0. Moving a window up only merges buckets, so counts moved at once or step by step come out equal.
"""

from __future__ import annotations

import math
from functools import lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt

Counts = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]

OCTAVES = 16
BUCKETS_PER_OCTAVE = 2048
BUCKETS = OCTAVES * BUCKETS_PER_OCTAVE
LOWEST_TOP = OCTAVES - 1
"""Exponent field of the lowest window; it reaches down to the denormals, so zero is always in bucket 0."""

DROPPED_BITS = 12
"""Mantissa bits of a float32 that do not matter for its bucket."""


def octave(magnitude: float) -> int:
    """Float32 exponent field of a magnitude, not below the lowest window's."""
    return max(math.frexp(magnitude)[1] + 126, LOWEST_TOP) if magnitude else LOWEST_TOP


def lowest_bits(top: int) -> int:
    """Bits of the float32 that the window which ends with octave ``top`` begins with."""
    return (top - LOWEST_TOP) << 23


def window_buckets(magnitudes: npt.NDArray[np.float32], top: int) -> npt.NDArray[np.int32]:
    """Each magnitude's bucket in the window that ends with octave ``top``."""
    found: npt.NDArray[np.int32] = magnitudes.view(np.int32) - np.int32(lowest_bits(top))
    return np.maximum(found, 0) >> DROPPED_BITS


def moved_up(counts: npt.NDArray[Any], octaves: int) -> npt.NDArray[Any]:
    """The same counts, (..., 32768), in a window that ends ``octaves`` higher."""
    if octaves == 0:
        return counts
    distance = min(octaves * BUCKETS_PER_OCTAVE, BUCKETS - 1)
    moved = np.zeros_like(counts)
    moved[..., : BUCKETS - distance] = counts[..., distance:]
    moved[..., 0] += counts[..., :distance].sum(axis=-1)
    return moved


@lru_cache(maxsize=32)
def edges(top: int) -> Floats:
    """Edges of a window's buckets, float64 (32769,), read-only; a lower edge belongs to its bucket."""
    key = np.arange(BUCKETS + 1) + (top - LOWEST_TOP) * BUCKETS_PER_OCTAVE
    exponent, mantissa = np.divmod(key, BUCKETS_PER_OCTAVE)
    normal = exponent > 0
    # in float64, because the upper edge of float32's last octave is infinite as float32
    result: Floats = np.ldexp(mantissa / BUCKETS_PER_OCTAVE + normal, np.maximum(exponent, 1) - 127)
    result[0] = 0.0
    result.flags.writeable = False
    return result


@lru_cache(maxsize=32)
def centers(top: int) -> Floats:
    """Centers of a window's buckets, float64 (32768,), read-only."""
    lower = edges(top)
    result: Floats = (lower[:-1] + lower[1:]) / 2
    result.flags.writeable = False
    return result
