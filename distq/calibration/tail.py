"""The few largest magnitudes of a tensor, kept exactly.

Where values are rarer than a histogram's bins, a cut after an empty bin and one after an occupied bin have
very different divergences (REFERENCE.md 2.1), and a bucket of 1/2048 octave cannot always tell which it was.
So the topmost buckets, as many whole ones as hold at most ``MOST`` values together, keep their values too.
Merging two tensors only ever takes buckets out of the tail; so it is exact, in any order.

Measured on ten kinds of distribution of 2e5 values, 512 to 8192 bins: KL's choice was worse than a two-pass
reference's by over 1 % in 26 of 576 cases with no tail, in none with 4096 values or more.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from distq.calibration.buckets import BUCKETS, Counts, edges

MOST = 8192
"""Values of a tail at most: several per bin of a histogram with the default 2048 bins."""

Tail = npt.NDArray[np.float32]

NO_TAIL: Tail = np.zeros(0, np.float32)


def tail_start(counts: Counts) -> int:
    """The lowest bucket of the tail, given the counts of |x|; never bucket 0, which is not one magnitude."""
    from_top = np.cumsum(counts[:0:-1])
    return BUCKETS - int(np.searchsorted(from_top, MOST, side="right"))


def at_least(magnitudes: npt.NDArray[np.float32], top: int, start: int) -> Tail:
    """The magnitudes in bucket ``start`` of the window ``top`` and above it, as they come."""
    if start == BUCKETS:
        return NO_TAIL
    result: Tail = magnitudes[magnitudes >= np.float32(edges(top)[start])]
    return result
