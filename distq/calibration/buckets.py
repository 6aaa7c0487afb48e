"""The buckets that magnitudes are counted in: 1/2048 of an octave wide, in a window of 16 octaves.

A float32's exponent and upper 11 mantissa bits (``bits >> 12``) number its bucket, so counting needs no
range. A window ends with the octave of the largest magnitude; what is smaller than its 32768 buckets falls
into bucket 0. Moving a window up only merges buckets, so counts moved at once or step by step come out equal.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import numpy.typing as npt

Counts = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]

OCTAVES = 16
BUCKETS_PER_OCTAVE = 2048
BUCKETS = OCTAVES * BUCKETS_PER_OCTAVE
LOWEST_TOP = OCTAVES - 1
"""Exponent field of the lowest window; it reaches down to the denormals, so zero is always in bucket 0."""

_DROPPED_BITS = 12


def octave(magnitude: float) -> int:
    """Float32 exponent field of a magnitude, not below the lowest window's."""
    return max(int(np.float32(magnitude).view(np.uint32) >> 23), LOWEST_TOP)


def window_keys(
    magnitudes: npt.NDArray[np.float32],
    top: int,
    scratch: npt.NDArray[np.float32],
    keys: npt.NDArray[np.uint16],
) -> None:
    """Write each magnitude's bucket in the window that ends with octave ``top`` into ``keys``."""
    lowest = np.uint32((top - LOWEST_TOP) << 23)
    np.maximum(magnitudes, lowest.view(np.float32), out=scratch)
    bits = scratch.view(np.uint32)
    if lowest == 0:
        bits &= np.uint32(0x7FFFFFFF)  # -0.0 can win against 0.0
    bits -= lowest
    np.right_shift(bits, _DROPPED_BITS, out=keys, casting="unsafe")


def moved_up(counts: Counts, octaves: int) -> Counts:
    """The same counts in a window that ends ``octaves`` higher."""
    if octaves == 0:
        return counts
    distance = min(octaves * BUCKETS_PER_OCTAVE, BUCKETS - 1)
    moved = np.zeros_like(counts)
    moved[: BUCKETS - distance] = counts[distance:]
    moved[0] += counts[:distance].sum()
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
