"""How alike the outputs of two networks are: NMSE, SQNR, cosine, squared distance."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from distq.errors import ModelError
from distq.search import metrics
from distq.search.measures.measure import Facts, Measure, Outputs, Record
from distq.search.metrics import ImageStatistics, compare, mean_squared, merge


@dataclass(frozen=True)
class _Similarity(Measure):
    """A figure of the sums that :mod:`distq.search.metrics` keeps of each output."""

    needs_float: ClassVar[bool] = True

    def score(self, outputs: Outputs, sample: Facts) -> Record:
        """(outputs, 4): error, power, candidate_power and dot of :class:`ImageStatistics`."""
        found = _compared(outputs, sample)
        return np.stack([found.error[0], found.power[0], found.candidate_power[0], found.dot[0]], axis=1)


@dataclass(frozen=True)
class Nmse(_Similarity):
    """Sum of (y8-y32)^2 over sum of y32^2, averaged over the outputs."""

    name: str = "nmse"
    higher_is_better: ClassVar[bool] = False

    def finish(self, records: Sequence[Record]) -> float:
        """As :func:`distq.search.metrics.nmse`."""
        return metrics.nmse(_merged(records))


@dataclass(frozen=True)
class Sqnr(_Similarity):
    """Signal to quantization noise in dB."""

    name: str = "sqnr"

    def finish(self, records: Sequence[Record]) -> float:
        """As :func:`distq.search.metrics.sqnr_db`."""
        return metrics.sqnr_db(_merged(records))


@dataclass(frozen=True)
class Cosine(_Similarity):
    """Cosine between the outputs of the two networks, averaged over the outputs."""

    name: str = "cosine"

    def finish(self, records: Sequence[Record]) -> float:
        """All samples taken as one vector, as :func:`distq.search.metrics.cosine`."""
        return metrics.cosine(_merged(records))

    def loss(self, outputs: Outputs, sample: Facts) -> float:
        """1 - cosine of this sample, averaged over the outputs; 2 where the outputs are not finite."""
        found = _compared(outputs, sample)
        return 1 - metrics.cosine(found) if np.isfinite(found.error).all() else 2.0


@dataclass(frozen=True)
class Squared(Measure):
    """Mean squared difference of an output, summed over the outputs: the diff of Bitmain's tuner."""

    name: str = "squared"
    higher_is_better: ClassVar[bool] = False
    needs_float: ClassVar[bool] = True

    def score(self, outputs: Outputs, sample: Facts) -> float:
        """Of one sample."""
        sizes = np.array([output.size for output in outputs.values()])
        return float(mean_squared(_compared(outputs, sample).error, sizes)[0])

    def finish(self, records: Sequence[Record]) -> float:
        """Mean over the samples; infinite where one is not finite."""
        return metrics.mean_over_images(np.concatenate([np.ravel(record) for record in records]))


def _compared(outputs: Outputs, sample: Facts) -> ImageStatistics:
    if sample.float_outputs is None:
        raise ModelError("this measure compares with the float network: give --against")
    return compare(list(outputs.values()), list(sample.float_outputs.values()))


def _merged(records: Sequence[Record]) -> ImageStatistics:
    return merge([ImageStatistics(*(row[np.newaxis] for row in record.T)) for record in records])
