"""Counting the values of one tensor, array by array.

Small arrays wait until there are enough to count together. Each magnitude's bucket is shifted to the upper
two bytes of its 32 bits, and OpenCV counts pairs of bytes, which needs no table to be set up. What a value
costs on one thread: 2 ns in all, of it counting 0.8 to 1.0, where ``np.bincount`` takes 1.1 to 1.7
(scripts/benchmarks/histogram.py).
"""

from __future__ import annotations

import math
import sys
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from distq.calibration import buckets
from distq.calibration.buckets import BUCKETS, Counts
from distq.calibration.tail import Tail, TailCandidates, tail_start

_BLOCK = 1 << 16
"""Values counted at a time: they, their buckets and the counts stay in the cache."""

_EXACT = 1 << 24
"""Up to here float32, in which OpenCV counts, holds every integer."""

_SIGN, _MAGNITUDE = np.int32(-(2**31)), np.int32(2**31 - 1)
_ZEROS = np.zeros(_BLOCK, np.int32)
_UPPER_BYTES = [3, 2] if sys.byteorder == "little" else [0, 1]


class Memory:
    """What the counters of some tensors count in, one after the other.

    It may be used again for the next counters, which is faster than getting it from the system once more.
    """

    def __init__(self, tensors: int) -> None:
        self.keys = np.empty(_BLOCK, np.int32)
        self.signs = np.empty(_BLOCK, np.int32)
        self.flags = np.empty(_BLOCK, np.bool_)
        self.waiting = np.empty((tensors, _BLOCK), np.float32)
        self.counts = np.empty((tensors, 2, BUCKETS), np.float32)

    @property
    def nbytes(self) -> int:
        """Size in bytes."""
        return self.waiting.nbytes + self.counts.nbytes + 9 * _BLOCK


class Counter:
    """Counts of one tensor's values; the attributes are up to date after ``finish``.

    Args:
        memory: what to count in; by default the counter has its own.
        position: the tensor's place in it, which no other counter has.

    Attributes:
        count: finite values.
        zeros: values that are exactly 0 (or -0).
        nonfinite: NaN and infinities.
        min: smallest finite value, ``inf`` while count is 0.
        max: largest finite value, ``-inf`` while count is 0.
        top: float32 exponent field of the window's highest octave.
    """

    def __init__(self, memory: Memory | None = None, position: int = 0) -> None:
        self.count = self.zeros = self.nonfinite = 0
        self.min, self.max = float("inf"), float("-inf")
        self.top = buckets.LOWEST_TOP
        self._memory = memory or Memory(1)
        self._waiting = self._memory.waiting[position]
        self._waits = 0
        self._recent: npt.NDArray[np.float32] = self._memory.counts[
            position
        ]  # a row for values that are not negative, one for others
        self._recent[:] = 0
        self._recent_size = 0
        self._earlier: Counts | None = None
        self._candidates = TailCandidates()

    def add(self, values: npt.NDArray[Any]) -> None:
        """Count an array of any shape; other types are cast to float32 (too large becomes infinite)."""
        flat = np.asarray(values)
        if flat.dtype != np.float32:
            with np.errstate(over="ignore"):
                flat = flat.astype(np.float32)
        flat = flat.ravel(order="K")
        if self._waits + flat.size > _BLOCK:
            self._add_waiting()
        if flat.size >= _BLOCK:
            for start in range(0, flat.size, _BLOCK):
                self._add(flat[start : start + _BLOCK])
        else:
            self._waiting[self._waits : self._waits + flat.size] = flat
            self._waits += flat.size

    def finish(self) -> tuple[npt.NDArray[Any], Tail]:
        """Count what waits.

        Returns:
            Counts by magnitude, (2, 32768), of values that are not negative and of negative ones, whole
            numbers in float32 or int64; and the tail. The counts are valid until the memory is used again.
        """
        self._add_waiting()
        return self._counts(), self._candidates.tail(self.top, tail_start(self._magnitude_counts()))

    def _add_waiting(self) -> None:
        size, self._waits = self._waits, 0
        self._add(self._waiting[:size])

    def _add(self, block: npt.NDArray[np.float32]) -> None:
        if block.size == 0:
            return
        low, high = float(block.min()), float(block.max())
        if not math.isfinite(low) or not math.isfinite(high):  # both are NaN when any value is
            finite = block[np.isfinite(block)]
            self.nonfinite += block.size - finite.size
            self._add(finite)
            return
        self.count += block.size
        # -0.0 becomes 0.0: which of them came first is chance
        self.min, self.max = min(self.min, low + 0.0), max(self.max, high + 0.0)
        absmax = max(abs(low), abs(high))
        self._raise_window(absmax)
        self._count(block, signed=low < 0)
        if low <= 0 <= high:
            self._count_zeros(block, signed=low < 0)
        if absmax >= self._candidates.least:
            magnitudes = block
            if low < 0:
                magnitudes = np.abs(block, out=self._memory.keys.view(np.float32)[: block.size])
            self._candidates.add(
                magnitudes, self.top, self._magnitude_counts, self._memory.flags[: block.size]
            )

    def _raise_window(self, absmax: float) -> None:
        """Move the window up until it holds ``absmax``."""
        top = max(self.top, buckets.octave(absmax))
        if top == self.top:
            return
        if self._recent_size:
            self._recent[:] = buckets.moved_up(self._recent, top - self.top)
        if self._earlier is not None:
            self._earlier = buckets.moved_up(self._earlier, top - self.top)
        self.top = top

    def _count(self, block: npt.NDArray[np.float32], *, signed: bool) -> None:
        """Count finite values by sign bit and magnitude."""
        if self._recent_size + block.size > _EXACT:
            self._earlier, self._recent_size = self._counts().astype(np.int64), 0
            self._recent[:] = 0
        self._recent_size += block.size
        bits = block.view(np.int32)
        keys = np.bitwise_and(bits, _MAGNITUDE, out=self._memory.keys[: block.size])
        np.subtract(keys, np.int32(buckets.lowest_bits(self.top)), out=keys)
        np.maximum(keys, _ZEROS[: block.size], out=keys)  # with a number it takes thrice as long
        np.left_shift(keys, 16 - buckets.DROPPED_BITS, out=keys)
        if signed:
            signs = np.bitwise_and(bits, _SIGN, out=self._memory.signs[: block.size])
            np.bitwise_or(keys, signs, out=keys)
        rows = 256 if signed else 128
        table = self._recent.reshape(256, 256)[:rows]
        pairs = keys.view(np.uint8).reshape(1, -1, 4)
        cv2.calcHist([pairs], _UPPER_BYTES, None, [rows, 256], [0, rows, 0, 256], table, accumulate=True)

    def _count_zeros(self, block: npt.NDArray[np.float32], *, signed: bool) -> None:
        flags = self._memory.flags[: block.size]
        zeros = int(np.count_nonzero(np.equal(block, 0, out=flags)))
        self.zeros += zeros
        if zeros and signed:  # -0.0 is not negative
            minus = np.count_nonzero(np.equal(block.view(np.int32), _SIGN, out=flags))
            self._recent[:, 0] += (minus, -minus)

    def _counts(self) -> npt.NDArray[Any]:
        if self._earlier is None:
            return self._recent
        counts: Counts = self._recent.astype(np.int64) + self._earlier
        return counts

    def _magnitude_counts(self) -> Counts:
        positive, negative = self._counts()
        counts: Counts = (positive + negative).astype(np.int64)
        return counts
