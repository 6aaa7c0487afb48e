"""How often each magnitude occurs in a tensor, counted in one pass by the bits of its float32 values.

The counts of any split of the arrays, merged in any order, are those of counting everything at once.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from distq.calibration import buckets
from distq.calibration.buckets import BUCKETS, Counts, Floats
from distq.calibration.counter import Counter
from distq.calibration.tail import NO_TAIL, Tail, cut, lower_edge
from distq.errors import FileFormatError

_LARGEST = float(np.finfo(np.float32).max)
_MOST_OF_FIRST_FORMAT = 8192
"""Values of a tail at most, in files of format 1."""


@dataclass(eq=False)
class Distribution:
    """Counts of one tensor's values.

    Attributes:
        count: finite values, zeros included; the buckets sum to it. Of a large array a value stands for its
            neighbours too, see ``distq.calibration.counter``.
        zeros: values that are exactly 0 (or -0); they are in ``positive[0]``.
        nonfinite: NaN and infinities; they are in no bucket.
        min: smallest finite value, ``inf`` while count is 0.
        max: largest finite value, ``-inf`` while count is 0.
        top: float32 exponent field (octave + 127) of the window's highest octave, 15 at least.
        positive: int64 (32768,), values that are not negative, by magnitude.
        negative: the same for negative values; (0,) when there are none.
        tail: float32, in any order, the values of largest magnitude, see ``distq.calibration.tail``; what is
            computed from a distribution takes them in place of the counts from bucket ``start`` on.
        start: the lowest bucket whose values are all in the tail, 1 to 32768.
        sampled: values that were counted; each stands for count / sampled.
    """

    count: int
    zeros: int
    nonfinite: int
    min: float
    max: float
    top: int
    positive: Counts
    negative: Counts
    tail: Tail
    start: int
    sampled: int

    @classmethod
    def empty(cls) -> Self:
        """The distribution of nothing, to which others are added."""
        positive, negative = np.zeros(BUCKETS, np.int64), np.zeros(0, np.int64)
        return cls(0, 0, 0, np.inf, -np.inf, buckets.LOWEST_TOP, positive, negative, NO_TAIL, 1, 0)

    @classmethod
    def of(cls, values: npt.NDArray[Any]) -> Self:
        """Count an array of any shape; other types are cast to float32 (too large becomes infinite)."""
        counter = Counter()
        counter.add(values)
        return cls.counted(counter)

    @classmethod
    def counted(cls, counter: Counter) -> Self:
        """What a counter was given so far."""
        table, weight, tail, start = counter.finish()
        positive, negative = table.astype(np.int64) * weight
        negative = negative if counter.min < 0 else negative[:0]
        c = counter
        return cls(
            c.count, c.zeros, c.nonfinite, c.min, c.max, c.top, positive, negative, tail, start, c.sampled
        )

    def merge(self, other: Distribution) -> Distribution:
        """The distribution of both tensors' values together."""
        result = Distribution.empty()
        result.add(self)
        result.add(other)
        return result

    def add(self, other: Distribution) -> None:
        """Count the values of ``other`` here too."""
        top = max(self.top, other.top)
        self.positive = buckets.moved_up(self.positive, top - self.top)
        self.positive += buckets.moved_up(other.positive, top - other.top)
        if self.negative.size:
            self.negative = buckets.moved_up(self.negative, top - self.top)
        elif other.negative.size:
            self.negative = np.zeros(BUCKETS, np.int64)
        if other.negative.size:
            self.negative += buckets.moved_up(other.negative, top - other.top)
        starts = (one.start - (top - one.top) * buckets.BUCKETS_PER_OCTAVE for one in (self, other))
        self.tail, self.start = cut(np.concatenate((self.tail, other.tail)), top, max(1, *starts))
        self.top = top
        self.count += other.count
        self.sampled += other.sampled
        self.zeros += other.zeros
        self.nonfinite += other.nonfinite
        self.min = min(self.min, other.min)
        self.max = max(self.max, other.max)

    @property
    def absmax(self) -> float:
        """Largest finite magnitude; 0 while count is 0."""
        return max(abs(self.min), abs(self.max)) if self.count else 0.0

    @property
    def is_non_negative(self) -> bool:
        """Whether no finite value is negative."""
        return self.min >= 0

    @property
    def total(self) -> int:
        """Finite values, zeros included, the tail's own number in place of its counts."""
        return self.zeros + int(self.magnitude_counts().sum())

    def tail_magnitudes(self) -> Tail:
        """The largest magnitudes, ascending."""
        return np.sort(np.abs(self.tail))

    def magnitude_counts(self) -> Counts:
        """Counts of |x| per bucket without exact zeros, int64 (32768,)."""
        counts = self.positive + self.negative if self.negative.size else self.positive.copy()
        counts[0] -= self.zeros
        return self._with_tail(counts, self.tail)

    def magnitudes(self) -> tuple[Floats, Counts]:
        """Centers and counts of the buckets of |x| that hold anything but exact zeros, ascending."""
        return _held(buckets.centers(self.top), self.magnitude_counts())

    def values(self) -> tuple[Floats, Counts]:
        """Centers and counts of the buckets of x that hold anything but exact zeros, ascending."""
        positive = self.positive.copy()
        positive[0] -= self.zeros
        positive = self._with_tail(positive, self.tail[self.tail > 0])
        centers = buckets.centers(self.top)
        if not self.negative.size:
            return _held(centers, positive)
        negative = self._with_tail(self.negative.copy(), self.tail[self.tail < 0])
        return _held(np.concatenate((-centers[::-1], centers)), np.concatenate((negative[::-1], positive)))

    def _with_tail(self, counts: Counts, tail: Tail) -> Counts:
        """Put the values of the tail in place of what was counted there."""
        places = buckets.window_buckets(np.abs(tail), self.top)
        counts[self.start :] = np.bincount(places, minlength=BUCKETS)[self.start :]
        return counts

    def bucket_edges(self) -> Floats:
        """Edges of the buckets of |x|, float64 (32769,), the first 0; a lower edge belongs to its bucket."""
        return buckets.edges(self.top)

    def magnitude_histogram(self, edges: Floats) -> Floats:
        """Counts of |x| between ``edges`` (ascending), without exact zeros.

        The tail is placed exactly. Below it the cumulative counts are interpolated at the edges and rounded,
        so that counts stay whole and a bucket of one value does not fill two bins. What lies beyond the last
        edge is left out.

        Returns:
            float64 (len(edges) - 1,).
        """
        positions = np.minimum(self.bucket_edges()[: self.start + 1], self.absmax)
        cumulative = np.append(0.0, np.cumsum(self.magnitude_counts()[: self.start]))
        tail = np.searchsorted(self.tail_magnitudes(), edges)
        below = np.rint(np.interp(edges, positions, cumulative)) + tail
        histogram: Floats = np.diff(below)
        return histogram

    def to_arrays(self, prefix: str = "") -> dict[str, npt.NDArray[Any]]:
        """Plain arrays under names that start with ``prefix``; buckets that are empty are left out."""
        arrays: dict[str, npt.NDArray[Any]] = {
            f"{prefix}totals": np.array(
                [self.count, self.zeros, self.nonfinite, self.top, self.start, self.sampled], np.int64
            ),
            f"{prefix}range": np.array([self.min, self.max], np.float64),
        }
        for name, counts in (("positive", self.positive), ("negative", self.negative)):
            held = np.flatnonzero(counts)
            arrays[f"{prefix}{name}_buckets"] = held.astype(np.uint16)
            arrays[f"{prefix}{name}_counts"] = counts[held]
        arrays[f"{prefix}tail"] = np.sort(self.tail)
        return arrays

    @classmethod
    def from_arrays(cls, arrays: dict[str, npt.NDArray[Any]], prefix: str = "") -> Self:
        """The distribution that ``to_arrays`` gave.

        Raises:
            FileFormatError: an array is missing or they do not fit together.
        """
        try:
            count, zeros, nonfinite, top, *more = (int(n) for n in arrays[f"{prefix}totals"])
            low, high = (float(x) for x in arrays[f"{prefix}range"])
            positive, negative = (
                _dense(arrays[f"{prefix}{sign}_buckets"], arrays[f"{prefix}{sign}_counts"])
                for sign in ("positive", "negative")
            )
            tail = arrays[f"{prefix}tail"]
            if not more:
                tail, start = _first_format(tail, top, zeros, positive, negative)
                more = [start, count]
            start, sampled = more
        except (KeyError, ValueError, TypeError, IndexError, OverflowError) as error:
            raise FileFormatError(
                f"distribution {prefix!r} is incomplete ({error}): gather it again with --dump-dist"
            ) from error
        negative = negative if low < 0 or negative.any() else negative[:0]
        result = cls(count, zeros, nonfinite, low, high, top, positive, negative, tail, start, sampled)
        if not _is_consistent(result):
            raise FileFormatError(
                f"distribution {prefix!r} contradicts itself: gather it again with --dump-dist"
            )
        return result


def _held(centers: Floats, counts: Counts) -> tuple[Floats, Counts]:
    held = counts > 0
    return centers[held], counts[held]


def _dense(indices: npt.NDArray[Any], counts: npt.NDArray[Any]) -> Counts:
    """Counts of all buckets; ValueError for buckets not ascending or counts that are none."""
    if (
        indices.dtype != np.uint16
        or counts.dtype != np.int64
        or indices.shape != counts.shape
        or indices.ndim != 1
    ):
        raise ValueError("buckets and counts of the wrong kind")
    if np.any(np.diff(indices.astype(np.int64)) <= 0) or np.any(counts <= 0):
        raise ValueError("buckets out of order or empty")
    dense = np.zeros(BUCKETS, np.int64)
    dense[indices] = counts
    return dense


def _first_format(
    magnitudes: Tail, top: int, zeros: int, positive: Counts, negative: Counts
) -> tuple[Tail, int]:
    """Tail and start of format 1, which counted all values and kept ascending magnitudes for a tail."""
    counts = positive + negative
    counts[0] -= zeros
    start = BUCKETS - int(np.searchsorted(np.cumsum(counts[:0:-1]), _MOST_OF_FIRST_FORMAT, side="right"))
    if counts[start:].sum() != magnitudes.size:
        raise ValueError("tail and counts differ")
    places = buckets.window_buckets(magnitudes, top)
    position = np.arange(places.size) - np.searchsorted(places, places)  # in its bucket
    return np.where(position < negative[places], -magnitudes, magnitudes), start


def _is_consistent(distribution: Distribution) -> bool:
    """Whether the exact numbers, buckets and tail of a distribution from outside can be of one tensor."""
    d = distribution
    if d.count == 0:
        nothing = (np.inf, -np.inf, 0, buckets.LOWEST_TOP, 0, 1, 0)
        return (d.min, d.max, d.zeros, d.top, d.tail.size, d.start, d.sampled) == nothing
    return (
        -_LARGEST <= d.min <= d.max <= _LARGEST
        and int(d.positive.sum() + d.negative.sum()) == d.count
        and 0 < d.sampled <= d.count
        and 0 <= d.zeros <= int(d.positive[0])
        and d.nonfinite >= 0
        and (d.min < 0) == (d.negative.size > 0)
        and d.top == buckets.octave(d.absmax)
        and _tail_fits(d)
    )


def _tail_fits(distribution: Distribution) -> bool:
    d = distribution
    if d.tail.dtype != np.float32 or d.tail.ndim != 1 or not 1 <= d.start <= BUCKETS:
        return False
    least = float(lower_edge(d.top, d.start))
    if not d.tail.size:
        return d.absmax < least
    return bool(
        np.all((d.tail >= d.min) & (d.tail <= d.max) & (np.abs(d.tail) >= least))
        and np.abs(d.tail).max() == d.absmax
    )
