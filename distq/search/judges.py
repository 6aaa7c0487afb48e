"""What networks are judged by on samples: what each loses, and how a person reads it."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt

from distq.errors import UsageError
from distq.search.jackknife import standard_error
from distq.search.measures.measure import Measure, Record, figures
from distq.search.metrics import decibels, mean_over_images, per_image_diff

Floats = npt.NDArray[np.float64]

POINTS = 100.0
"""How many points a whole figure is."""

IN_POINTS = ("map", "map50")
"""Figures of which a goal says what may be lost, in points; of the others it says what is to be there."""

NO_LABELS = (
    "--goal top{} needs labels and one row of class scores: give --labels FILE, or --goal sqnr:DECIBELS"
)

_ONE_SIDED = 1.2816
"""Standard deviations that a normal variable exceeds with 10 %."""


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

    def error(self, seen: Seen, power: Floats) -> float:
        """How far the outputs are from float's, as the square of noise: what several parts add adds up."""

    def lost(self, loss: float) -> float | None:
        """A loss as what is lost of float's own figure; None: it is an error itself, or not known."""


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

    def error(self, seen: Seen, power: Floats) -> float:
        """It is the loss."""
        return self.loss(seen, power)

    def lost(self, loss: float) -> None:
        """The loss is the error."""
        del loss


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

    def error(self, seen: Seen, power: Floats) -> float:
        """NMSE of the outputs."""
        return Similarity().loss(seen, power)

    def lost(self, loss: float) -> float:
        """It is of float's answers."""
        return loss

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
    """A figure of a measure: what INT8 has more than float, or the figure itself beside float.

    A figure of which less is better counts with its sign turned.

    Attributes:
        measure: gives it.
        figure: its name; empty: the first.
        unit: how many times the figure a person reads: 100 for points.
        alone: float's figure where the measure takes what float gives for the truth.
    """

    measure: Measure
    figure: str = ""
    unit: float = 1.0
    alone: float = 0.0

    @property
    def name(self) -> str:
        """Of the measure, and of the figure where that is not its first."""
        name = f"{self.measure.name} {self.figure}".strip()
        return f"{name} points" if self.unit == POINTS else name

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

    def error(self, seen: Seen, power: Floats) -> float:
        """What the measure says of it, else NMSE of the outputs."""
        error = self.measure.error(seen.records)
        return Similarity().loss(seen, power) if error is None else error

    def lost(self, loss: float) -> float | None:
        """From float's own figure on; None where a measure that compares with float does not tell that."""
        if not self._beside_float:
            return loss
        own = 0.0 if self._less_is_better else self.measure.own
        return None if own is None else loss + abs(own - self.alone)

    @property
    def _beside_float(self) -> bool:
        """Whether the figure itself compares with float, so that float alone has none."""
        first = self.measure.names[:1] or ("",)
        return self.measure.needs_float or (self.figure or first[0]) in {*self.measure.names} - {*IN_POINTS}

    @property
    def _less_is_better(self) -> bool:
        return self.figure in self.measure.errors or not self.measure.higher_is_better

    def _lost(self, records: Sequence[Record], float_records: Sequence[Record]) -> float:
        ours, theirs = self._figure(records), self._figure(float_records)
        if math.isnan(theirs):
            theirs = self.alone
        return ours - theirs if self._less_is_better else theirs - ours

    def _figure(self, records: Sequence[Record]) -> float:
        found = figures(self.measure, records) if records else {}
        return found.get(self.figure or next(iter(found), ""), math.nan)
