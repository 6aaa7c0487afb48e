"""Counting the values of one tensor, array by array.

Of every array the extremes and the largest magnitudes are exact. Of a large one, evenly spaced values are
counted, each for as many as lie from it to the next: the shape of the rest is known from thousands of values
as well as from millions. Which are counted depends on the array's size alone, so the counts of any split of
the samples add up to the same.

Small arrays wait until there are enough to count together. Each magnitude's bucket is shifted to the upper
two bytes of its 32 bits, and OpenCV counts pairs of bytes, which needs no table to be set up
(scripts/benchmarks/histogram.py).
"""

from __future__ import annotations

import math
import sys
from functools import lru_cache
from typing import Any, NamedTuple

import cv2
import numpy as np
import numpy.typing as npt

from distq.calibration import buckets
from distq.calibration.buckets import BUCKETS, Counts
from distq.calibration.tail import Tail, TailCandidates

_LOOK, _BLOCK = 1 << 17, 1 << 16
"""Values looked at and counted at a time: they, their buckets and the counts stay in the cache."""

_EXACT = 1 << 24
"""Up to here float32, in which OpenCV counts, holds every integer."""

_INFINITE = np.float32(np.inf).view(np.uint32)
_SIGN, _MAGNITUDE = np.int32(-(2**31)), np.int32(2**31 - 1)
_ZEROS = np.zeros(_BLOCK, np.int32)
_UPPER_BYTES = [3, 2] if sys.byteorder == "little" else [0, 1]


@lru_cache(maxsize=1024)
def spacing(size: int, most: int) -> int:
    """Every how many-th value is counted of an array, so that they are at most ``most``.

    The number is coprime to the array's size, hence to all its dimensions: every row and column is seen.
    """
    step = max(-(-size // most), 1)
    while math.gcd(step, size) > 1:
        step += 1
    return step


class Memory:
    """What the counters of some tensors count in, one after the other.

    It may be used again for the next counters, which is faster than getting it from the system once more.
    """

    def __init__(self, tensors: int) -> None:
        self.keys = np.empty(_BLOCK, np.int32)
        self.signs = np.empty(_BLOCK, np.int32)
        self.flags = np.empty(_LOOK, np.bool_)
        self.waiting = np.empty((tensors, _LOOK), np.float32)
        self.chosen = np.empty((tensors, _LOOK), np.float32)
        self.counts = np.empty((tensors, 2, BUCKETS), np.float32)

    @property
    def nbytes(self) -> int:
        """Size in bytes."""
        return self.waiting.nbytes + self.chosen.nbytes + self.counts.nbytes + 8 * _BLOCK + _LOOK


class Counted(NamedTuple):
    """What a counter found.

    Attributes:
        table: (2, 32768), values that are not negative and negative ones, by magnitude; whole numbers in
            float32 or int64, valid until the memory is used again.
        weight: for how many values each in the table stands.
        tail: float32, the values of largest magnitude, in any order, see ``distq.calibration.tail``.
        start: the lowest bucket of the tail.
    """

    table: npt.NDArray[Any]
    weight: int
    tail: Tail
    start: int


class Counter:
    """Counts of one tensor's values; the attributes are up to date after ``finish``.

    Args:
        memory: what to count in; by default the counter has its own.
        position: the tensor's place in it, which no other counter has.
        most: values of an array that are counted at most; None: all.

    Attributes:
        count: finite values; a counted one stands for as many as ``spacing`` says.
        sampled: values that were counted.
        zeros: of ``count``, values that are exactly 0 (or -0).
        nonfinite: NaN and infinities.
        min: smallest finite value, ``inf`` while there is none.
        max: largest finite value, ``-inf`` while there is none.
        top: float32 exponent field of the window's highest octave.
    """

    def __init__(self, memory: Memory | None = None, position: int = 0, most: int | None = None) -> None:
        self.count = self.sampled = self.zeros = self.nonfinite = 0
        self.min, self.max = float("inf"), float("-inf")
        self.top = buckets.LOWEST_TOP
        self._memory = memory or Memory(1)
        self._most = most
        self._size = 0  # of an array, since last it changed
        self._step = 1
        self._waiting = self._memory.waiting[position]
        self._waits = 0
        self._chosen = self._memory.chosen[position]
        self._chose = 0
        self._recent: npt.NDArray[np.float32] = self._memory.counts[position]
        self._recent[:] = 0
        self._recent_size = 0
        self._earlier: Counts | None = None  # with their weights
        self._candidates = TailCandidates()

    def add(self, values: npt.NDArray[Any]) -> None:
        """Count an array of any shape; other types are cast to float32 (too large becomes infinite)."""
        flat = np.asarray(values)
        if flat.dtype != np.float32:
            with np.errstate(over="ignore"):
                flat = flat.astype(np.float32)
        flat = flat.ravel()
        if flat.size != self._size:
            self._start_size(flat.size)
        if flat.size > _LOOK // 2:
            piece = _LOOK // self._step * self._step
            for start in range(0, flat.size, piece):
                self._look(flat[np.newaxis, start : start + piece])
        elif flat.size:
            if self._waits + flat.size > _LOOK:
                self._look_at_waiting()
            self._waiting[self._waits : self._waits + flat.size] = flat
            self._waits += flat.size

    def finish(self) -> Counted:
        """Count what waits."""
        self._look_at_waiting()
        self._count_chosen()
        tail, start = self._candidates.tail(self.top)
        if self._earlier is None:
            return Counted(self._recent, self._step, tail, start)
        return Counted(self._weighted(), 1, tail, start)

    def _start_size(self, size: int) -> None:
        """Be ready for arrays of another size."""
        self._look_at_waiting()
        self._count_chosen()
        step = 1 if self._most is None else spacing(size, self._most)
        if step != self._step and self._recent_size:
            self._set_aside()
        self._size, self._step = size, step

    def _look_at_waiting(self) -> None:
        size, self._waits = self._waits, 0
        if size:
            self._look(self._waiting[:size].reshape(-1, self._size))

    def _look(self, values: npt.NDArray[np.float32]) -> None:
        """Take from whole arrays, or from a part of one, a row each, what is exact and what is counted."""
        chosen = values[:, :: self._step]
        low, high = self._extremes(values)
        if not math.isfinite(low) or not math.isfinite(high):  # both are NaN when any value is
            finite = values[np.isfinite(values)]
            self.nonfinite += values.size - finite.size
            if not finite.size:
                return
            values, chosen = finite, chosen[np.isfinite(chosen)]
            low, high = float(values.min()), float(values.max())
        # -0.0 becomes 0.0: which of them came first is chance
        self.min, self.max = min(self.min, low + 0.0), max(self.max, high + 0.0)
        absmax = max(abs(low), abs(high))
        self._raise_window(absmax)
        if absmax >= self._candidates.least:
            self._candidates.add(values.ravel(), low, self.top, self._memory.flags[: values.size])
        if self._step == 1:
            self._count(values.ravel())
            return
        if self._chose + chosen.size > _BLOCK:
            self._count_chosen()
        self._chosen[self._chose : self._chose + chosen.size].reshape(chosen.shape)[...] = chosen
        self._chose += chosen.size

    def _extremes(self, values: npt.NDArray[np.float32]) -> tuple[float, float]:
        """The smallest value, or 0 where it is larger and 0 or less is known already; and the largest."""
        if self.min <= 0:
            largest = values.view(np.uint32).max()
            if largest < _INFINITE:  # then none is negative either
                return 0.0, float(largest.view(np.float32))
        return float(values.min()), float(values.max())

    def _count_chosen(self) -> None:
        size, self._chose = self._chose, 0
        if size:
            self._count(self._chosen[:size])

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

    def _count(self, values: npt.NDArray[np.float32]) -> None:
        for start in range(0, values.size, _BLOCK):
            self._count_block(values[start : start + _BLOCK])

    def _count_block(self, block: npt.NDArray[np.float32]) -> None:
        """Count finite values by sign bit and magnitude."""
        signed = self.min < 0
        if self._recent_size + block.size > _EXACT:
            self._set_aside()
        self._recent_size += block.size
        self.sampled += block.size
        self.count += block.size * self._step
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
        if self.min <= 0 <= self.max:
            self._count_zeros(block, signed=signed)

    def _count_zeros(self, block: npt.NDArray[np.float32], *, signed: bool) -> None:
        flags = self._memory.flags[: block.size]
        zeros = int(np.count_nonzero(np.equal(block, 0, out=flags)))
        self.zeros += zeros * self._step
        if zeros and signed:  # -0.0 is not negative
            minus = np.count_nonzero(np.equal(block.view(np.int32), _SIGN, out=flags))
            self._recent[:, 0] += (minus, -minus)

    def _set_aside(self) -> None:
        self._earlier, self._recent_size = self._weighted(), 0
        self._recent[:] = 0

    def _weighted(self) -> Counts:
        counts: Counts = self._recent.astype(np.int64) * self._step
        return counts if self._earlier is None else counts + self._earlier
