"""What ``distq auto`` is to reach: a measure of samples, and how much of it may be lost."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt

from distq.errors import UsageError
from distq.search.acceptance import significant_improvement
from distq.search.jackknife import standard_error
from distq.search.measures.measure import Measure, Record, figures
from distq.search.metrics import decibels, mean_over_images, per_image_diff

Floats = npt.NDArray[np.float64]

SURE = 0.99
"""Confidence with which a network is given up on the first samples."""

_ONE_SIDED = 1.2816
"""Standard deviations that a normal variable exceeds with 10 %."""

NO_LABELS = (
    "--goal top{} needs labels and one row of class scores: give --labels FILE, or --goal sqnr:DECIBELS"
)


@dataclass(frozen=True)
class Seen:
    """What was seen of a network on samples, and of the float network beside it.

    Attributes:
        error: sum of squared errors, (samples, outputs).
        hits: 1 where the label is among the first 1 or 5 classes, 0 where not, -1 without label; (samples,).
        float_hits: of the float network.
        records, float_records: of a measure of ``--measure``.
    """

    error: Floats
    hits: Mapping[int, Floats]
    float_hits: Mapping[int, Floats]
    records: Sequence[Record] = ()
    float_records: Sequence[Record] = ()

    def and_then(self, more: Seen) -> Seen:
        """With further samples behind."""
        return Seen(
            np.concatenate([self.error, more.error]),
            {k: np.concatenate([hits, more.hits[k]]) for k, hits in self.hits.items()},
            {k: np.concatenate([hits, more.float_hits[k]]) for k, hits in self.float_hits.items()},
            (*self.records, *more.records),
            (*self.float_records, *more.float_records),
        )


class Judge(Protocol):
    """Something that a network loses on samples, and how a person reads it."""

    @property
    def name(self) -> str:
        """For a person, with the unit: ``SQNR dB``."""

    def losses(self, seen: Seen, power: Floats) -> Floats | None:
        """What each sample loses, (samples,); the loss is their mean. None where it is no mean.

        Args:
            seen: of the network.
            power: mean of sum y32^2 over all samples, (outputs,).

        Raises:
            UsageError: the samples lack what it needs.
        """

    def loss(self, seen: Seen, power: Floats) -> float:
        """What the network loses on all of them; less is better."""

    def reading(self, loss: float) -> float:
        """A loss as a person reads it."""

    def limit(self, reading: float) -> float:
        """The loss that a person reads so."""

    def of_error(self, nmse: float) -> float | None:
        """The loss of a network with this error of its outputs; None where that is not known."""


class Similarity:
    """SQNR of the outputs in dB; a sample loses its share of the NMSE."""

    name = "SQNR dB"

    def losses(self, seen: Seen, power: Floats) -> Floats:
        """Shares of the NMSE, (samples,)."""
        return per_image_diff(seen.error, power * len(seen.error))

    def loss(self, seen: Seen, power: Floats) -> float:
        """NMSE."""
        return mean_over_images(self.losses(seen, power))

    def reading(self, loss: float) -> float:
        """Decibels."""
        return decibels(loss)

    def limit(self, reading: float) -> float:
        """NMSE."""
        return float(10 ** (-reading / 10))

    def of_error(self, nmse: float) -> float | None:
        """It is the loss."""
        return nmse


@dataclass(frozen=True)
class RightAnswers:
    """Points of top-1 or top-5 that INT8 has more than float, in percent; samples without label are left out.

    Attributes:
        count: 1 or 5.
    """

    count: int

    @property
    def name(self) -> str:
        """Against float."""
        return f"top-{self.count} points"

    def losses(self, seen: Seen, power: Floats) -> Floats:
        """1 where only float is right, -1 where only INT8 is, else 0; (labelled samples,)."""
        del power
        ours, exact = seen.hits[self.count], seen.float_hits[self.count]
        labelled = (ours >= 0) & (exact >= 0)
        if not labelled.any():
            raise UsageError(NO_LABELS.format(self.count))
        return np.asarray(exact[labelled] - ours[labelled], np.float64)

    def loss(self, seen: Seen, power: Floats) -> float:
        """Part of the samples."""
        return mean_over_images(self.losses(seen, power))

    def reading(self, loss: float) -> float:
        """Points of a hundred."""
        return -100 * loss + 0.0

    def limit(self, reading: float) -> float:
        """Part of the samples."""
        return -reading / 100

    def of_error(self, nmse: float) -> None:
        """What the error of the outputs does to answers is not known before they are counted."""
        del nmse

    def most(self, losses: Floats) -> float:
        """What is lost at most on other samples like these, with a probability of 90 %.

        Source: A. Agresti and Y. Min, Simple improved confidence intervals for comparing matched
        proportions, Statistics in Medicine 24 (2005): half an answer is added to each kind.
        """
        samples, lost = len(losses) + 2, math.fsum(losses) / (len(losses) + 2)
        spread = (math.fsum(losses**2) + 1) / samples - lost**2
        return lost + _ONE_SIDED * math.sqrt(spread / samples)


@dataclass(frozen=True)
class Figure:
    """The first figure of a measure: what INT8 has more than float, or the figure itself beside float.

    A figure of which less is better counts with its sign turned.

    Attributes:
        measure: gives it.
        unit: how many times the figure a person reads: 100 for points.
        alone: float's figure where the measure takes what float gives for the truth.
    """

    measure: Measure
    unit: float = 1.0
    alone: float = 0.0

    @property
    def name(self) -> str:
        """Of the measure."""
        return f"{self.measure.name} points" if self.unit == _POINTS else self.measure.name

    def losses(self, seen: Seen, power: Floats) -> None:
        """A figure such as mAP is no mean over samples."""
        del seen, power

    def most(self, seen: Seen) -> float:
        """What is lost at most on other samples like these, with a probability of 90 %; NaN: it is not known.

        As the loss is about normal; its spread is that of :func:`~distq.search.jackknife.standard_error`.
        """
        ours, theirs = seen.records, seen.float_records
        if theirs and len(theirs) != len(ours):  # which are of one sample is not known
            return math.nan

        def without(kept: Sequence[int]) -> float:
            return self._lost([ours[i] for i in kept], [theirs[i] for i in kept] if theirs else ())

        return self._lost(ours, theirs) + _ONE_SIDED * standard_error(without, len(ours))

    def loss(self, seen: Seen, power: Floats) -> float:
        """What float has more, each figure being made of all records."""
        del power
        lost = self._lost(seen.records, seen.float_records)
        if math.isnan(lost):
            raise UsageError(f"--measure {self.measure.name} says nothing of these samples: give others")
        return lost

    def reading(self, loss: float) -> float:
        """Points of mAP, or the figure's own unit."""
        return -self.unit * loss + 0.0

    def limit(self, reading: float) -> float:
        """A difference of figures."""
        return -reading / self.unit

    def of_error(self, nmse: float) -> None:
        """It is not known before it is measured."""
        del nmse

    def _lost(self, records: Sequence[Record], float_records: Sequence[Record]) -> float:
        ours, theirs = self._figure(records), self._figure(float_records)
        if math.isnan(theirs):
            theirs = self.alone
        return theirs - ours if self.measure.higher_is_better else ours - theirs

    def _figure(self, records: Sequence[Record]) -> float:
        return next(iter(figures(self.measure, records).values())) if records else math.nan


_POINTS = 100.0

_JUDGES: Mapping[str, Judge] = {
    "sqnr": Similarity(),
    "top1": RightAnswers(1),
    "top5": RightAnswers(5),
}

OF_A_MEASURE: Mapping[str, str | None] = {"map": "detection", "score": None}
"""Goals in the figure of a measure, and the measure they are of where none is named."""


@dataclass(frozen=True)
class Goal:
    """Something to judge networks by, and the reading of it that is good enough."""

    judge: Judge
    reading: float

    @classmethod
    def parse(cls, text: str, measure: Measure | None = None) -> Goal:
        """From ``sqnr:30``, ``top1:-0.5``, ``map:-1`` or ``score:-0.01``.

        Args:
            text: as the user gave it.
            measure: of which ``map`` and ``score`` are the first figure.

        Raises:
            UsageError: there is no such goal.
        """
        name, _, reading = text.partition(":")
        if name in OF_A_MEASURE and measure is not None:
            judge = Figure(measure, _POINTS, alone=1.0) if name == "map" else Figure(measure)
            return cls(judge, float(reading))
        if name not in _JUDGES:
            raise UsageError(
                f"--goal {text}: it is of {', '.join((*_JUDGES, *OF_A_MEASURE))}, such as sqnr:30"
            )
        return cls(_JUDGES[name], float(reading))

    @property
    def limit(self) -> float:
        """The largest loss that meets it."""
        return self.judge.limit(self.reading)

    def met(self, loss: float) -> bool:
        """Whether a network with this loss meets it; what rounding adds counts for nothing."""
        return loss <= self.limit + 1e-12 * max(1.0, abs(self.limit))

    def hopeless(self, losses: Floats | None, rival: Floats | None = None) -> bool:
        """Whether the first samples show already that it will be missed.

        Args:
            losses: of these samples, (samples,); None where the loss is no mean.
            rival: of another network, on these and further samples, in place of the goal.
        """
        if losses is None or self.met(mean_over_images(losses)):
            return False
        wanted = np.full_like(losses, self.limit) if rival is None else rival[: len(losses)]
        return significant_improvement(wanted, losses, confidence=SURE).accepted

    def promising(self, nmse: float, slack: float) -> bool:
        """Whether a network with this error of its outputs may meet it, estimates being off by so much."""
        loss = self.judge.of_error(nmse)
        return loss is None or loss <= slack * self.limit
