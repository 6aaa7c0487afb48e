"""The squared error of quantizing a distribution to a uniform grid, from cumulative sums.

With c the bucket centers, h their counts and q(c) the integer a center is rounded to,
sum h (c - a q)^2 = sum h c^2 - 2 a sum h c q + a^2 sum h q^2. Because q grows by 1 at each of the grid's
boundaries, both sums over q are sums, over the boundaries, of what lies above them: a scale costs one look-up
per level, not one rounding per bucket.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import numpy as np
import numpy.typing as npt

from distq.calibration.buckets import Counts, Floats

MOST_LEVELS = 2048
"""Grids finer than this are finer than the buckets near the maximum, whose error is then not to be seen."""


@dataclass(frozen=True)
class GridError:
    """Sums of h (``above``) and h c (``moment_above``) from each bucket up, (n + 1,); energy: sum h c^2."""

    values: Floats
    above: Floats
    moment_above: Floats
    energy: float

    @classmethod
    def of(cls, values: Floats, counts: Counts) -> Self:
        """Prepare for bucket centers (ascending) and their counts."""
        moments = values * counts
        return cls(values, _above(counts), _above(moments), float(np.sum(moments * values)))

    def sums(self, scales: Floats, zero_points: npt.NDArray[np.int64], steps: int) -> tuple[Floats, Floats]:
        """Sum h c q and sum h q^2 for the grids scale * {-zero_point, ..., steps - zero_point}.

        Args:
            scales: step sizes, (n,).
            zero_points: int64 (n,).
            steps: levels less one.
        """
        ranks = np.arange(1, steps + 1) - zero_points[:, np.newaxis]
        at = np.searchsorted(self.values, (ranks - 0.5) * scales[:, np.newaxis])
        lowest = -zero_points
        first = lowest * self.moment_above[0] + np.sum(self.moment_above[at], axis=1)
        second = lowest**2 * self.above[0] + np.sum((2 * ranks - 1) * self.above[at], axis=1)
        return first, second

    def squared_error(self, scales: Floats, zero_points: npt.NDArray[np.int64], steps: int) -> Floats:
        """Sum h (c - Q(c))^2 of each grid, (n,)."""
        first, second = self.sums(scales, zero_points, steps)
        return self.energy - 2 * scales * first + scales**2 * second


def _above(weights: npt.NDArray[np.int64] | Floats) -> Floats:
    """Sums of the weights from each index to the end, with a last 0."""
    return np.append(np.cumsum(weights[::-1], dtype=np.float64)[::-1], 0.0)
