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


def fit_of(distribution: Distribution, row: Row) -> Fit:
    """What the quantizer of a row does to the values of a distribution."""
    return _fit(distribution, row.threshold, (row.min, row.max), row.encoding)


def fits_of_methods(distribution: Distribution, row: Row, bins: int, scheme: str) -> dict[str, Fit]:
    """What each method would choose for a tensor, with the same bits and kind of quantizer as its row's.

    Args:
        distribution: of the tensor.
        row: of the run.
        bins: ``--bins`` of the run.
        scheme: ``--scheme`` of the run.
    """
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
        found[method] = _fit(distribution, chosen, (low, high), encoding)
    return found


def _fit(
    distribution: Distribution, threshold: float, bounds: tuple[float, float], encoding: Encoding
) -> Fit:
    values, counts = distribution.values()
    low, high = bounds
    # a value that lies on the bound is counted in a bucket whose center may lie beyond it
    slack = 2.0**-11 * max(abs(low), abs(high))
    outside = int(counts[(values < low - slack) | (values > high + slack)].sum())
    limits = np.iinfo(encoding.dtype)
    levels = np.clip(np.rint(values / encoding.scale) + encoding.zero_point, limits.min, limits.max)
    error = (levels - encoding.zero_point) * encoding.scale - values
    noise, power = float(counts @ error**2), float(counts @ values**2)
    total = distribution.total
    return Fit(
        threshold=threshold,
        over_largest=threshold / distribution.absmax if distribution.absmax else math.nan,
        clipped=outside / total if total else 0.0,
        sqnr_db=decibels(noise / power) if power else math.inf,
    )
