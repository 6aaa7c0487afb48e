"""What ``distq auto`` is to reach: a measure of samples, and how much of it may be lost."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from distq.errors import UsageError
from distq.search.acceptance import significant_improvement
from distq.search.metrics import decibels, mean_over_images, per_image_diff

Floats = npt.NDArray[np.float64]

Results = Mapping[str, npt.NDArray[Any]]
"""What the unit ``Evaluate`` returns, samples of all shards together."""

SURE = 0.99
"""Confidence with which a network is given up on the first samples."""


class Measure(Protocol):
    """Something that INT8 loses sample by sample, and what its mean is called."""

    @property
    def name(self) -> str:
        """For a person, with the unit: ``SQNR dB``."""

    def losses(self, results: Results, model: int, power: Floats) -> Floats:
        """What each sample loses, (samples,); the network loses their mean, and less is better.

        Args:
            results: of all models, and of float behind them.
            model: its position among them.
            power: mean of sum y32^2 over all samples, (outputs,).

        Raises:
            UsageError: the samples lack what the measure needs.
        """

    def reading(self, loss: float) -> float:
        """The mean loss as a person reads it."""

    def loss(self, reading: float) -> float:
        """The other way round."""

    def of_error(self, nmse: float) -> float | None:
        """The loss of a network with this error of its outputs; None where that is not known."""


class Similarity:
    """SQNR of the outputs in dB; a sample loses its share of the NMSE."""

    name = "SQNR dB"

    def losses(self, results: Results, model: int, power: Floats) -> Floats:
        """Shares of the NMSE, (samples,)."""
        error = results["error"][model]
        return per_image_diff(error, power * len(error))

    def reading(self, loss: float) -> float:
        """Decibels."""
        return decibels(loss)

    def loss(self, reading: float) -> float:
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
        """Top-1 against float."""
        return f"top-{self.count} points"

    def losses(self, results: Results, model: int, power: Floats) -> Floats:
        """1 where only float is right, -1 where only INT8 is, else 0; (labelled samples,)."""
        del power
        hits = results[f"top{self.count}"].astype(np.float64)
        ours, exact = hits[model], hits[-1]
        labelled = (ours >= 0) & (exact >= 0)
        if not labelled.any():
            raise UsageError(
                f"--goal top{self.count} needs labels and one row of class scores: give --labels FILE, or "
                "--goal sqnr:DECIBELS"
            )
        return np.asarray(exact[labelled] - ours[labelled], np.float64)

    def reading(self, loss: float) -> float:
        """Points of a hundred."""
        return -100 * loss + 0.0

    def loss(self, reading: float) -> float:
        """Part of the samples."""
        return -reading / 100

    def of_error(self, nmse: float) -> None:
        """What the error of the outputs does to answers is not known before they are counted."""
        del nmse


_MEASURES: Mapping[str, Measure] = {
    "sqnr": Similarity(),
    "top1": RightAnswers(1),
    "top5": RightAnswers(5),
}


@dataclass(frozen=True)
class Goal:
    """A measure, and the reading of it that is good enough."""

    measure: Measure
    reading: float

    @classmethod
    def parse(cls, text: str) -> Goal:
        """From ``sqnr:30`` or ``top1:-0.5``.

        Raises:
            UsageError: there is no such measure.
        """
        name, _, reading = text.partition(":")
        if name not in _MEASURES:
            raise UsageError(f"--goal {text}: it is of {', '.join(_MEASURES)}, such as sqnr:30")
        return cls(_MEASURES[name], float(reading))

    @property
    def limit(self) -> float:
        """The largest mean loss that meets it."""
        return self.measure.loss(self.reading)

    def met(self, loss: float) -> bool:
        """Whether a network with this mean loss meets it; what rounding adds counts for nothing."""
        return loss <= self.limit + 1e-12 * max(1.0, abs(self.limit))

    def hopeless(self, losses: Floats) -> bool:
        """Whether the first samples, (samples,), show already that it will be missed."""
        if self.met(mean_over_images(losses)):
            return False
        return significant_improvement(np.full_like(losses, self.limit), losses, confidence=SURE).accepted

    def promising(self, nmse: float, slack: float) -> bool:
        """Whether a network with this error of its outputs may meet it, estimates being off by so much."""
        loss = self.measure.of_error(nmse)
        return loss is None or loss <= slack * self.limit
