"""What a threshold does to a tensor's values, computed from its distribution."""

from __future__ import annotations

import math

import numpy as np

from distq.calibration.histogram import Distribution
from distq.calibration.methods import METHODS, threshold
from distq.quant.scheme import Encoding, encode, threshold_range
from distq.quant.table import Row
from distq.reports.facts import Fit
from distq.search.metrics import decibels


class Fits:
    """Judges thresholds by the values of one tensor."""

    def __init__(self, distribution: Distribution) -> None:
        self._distribution = distribution
        self._values, counts = distribution.values()
        self._counts = counts.astype(np.float64)
        self._below = np.append(0, np.cumsum(counts))
        self._power = float(np.sum(self._counts * self._values**2))

    def of(self, row: Row) -> Fit:
        """What the quantizer of a row does to the values."""
        return self._fit(row.threshold, (row.min, row.max), row.whole)

    def of_methods(self, row: Row, bins: int, scheme: str) -> dict[str, Fit]:
        """What each method would choose, with the same bits and kind of quantizer as the row's.

        Args:
            row: of the run.
            bins: ``--bins`` of the run.
            scheme: ``--scheme`` of the run.
        """
        distribution = self._distribution
        if distribution.absmax == 0:
            return {}
        levels = 128 if scheme == "symmetric" else None
        symmetric = row.convention == str(2 ** (row.bits - 1) - 1)
        found = {}
        for method in METHODS:
            chosen = threshold(distribution, method, bins, levels)
            low, high = threshold_range(distribution.min, distribution.max, chosen)
            if symmetric:
                low, high = -max(-low, high), max(-low, high)
            encoding = encode(low, high, row.bits, symmetric=symmetric, signed=row.signed)
            found[method] = self._fit(chosen, (low, high), encoding)
        return found

    def _fit(self, threshold: float, bounds: tuple[float, float], encoding: Encoding) -> Fit:
        low, high = bounds
        # a value that lies on the bound is counted in a bucket whose center may lie beyond it
        slack = 2.0**-11 * max(abs(low), abs(high))
        first, last = np.searchsorted(self._values, (low - slack, high + slack))
        outside = int(self._below[first] + self._below[-1] - self._below[last])
        limits = np.iinfo(encoding.dtype)
        scale, zero_point = np.asarray(encoding.scale), np.asarray(encoding.zero_point)
        error = np.rint(self._values / scale)
        np.clip(error, limits.min - zero_point, limits.max - zero_point, out=error)
        error *= scale
        error -= self._values
        noise = float(np.sum(self._counts * error * error))  # no BLAS, whose threads wait for busy cores
        total, absmax = self._distribution.total, self._distribution.absmax
        return Fit(
            threshold=threshold,
            over_largest=threshold / absmax if absmax else math.nan,
            clipped=outside / total if total else 0.0,
            sqnr_db=decibels(noise / self._power) if self._power else math.inf,
        )
