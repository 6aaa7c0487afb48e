"""What ``distq auto`` is to reach: a measure of samples, and how much of it may be lost."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from distq.errors import UsageError
from distq.search.acceptance import significant_improvement
from distq.search.judges import IN_POINTS, POINTS, Figure, Floats, Judge, RightAnswers, Similarity
from distq.search.measures.measure import Measure
from distq.search.metrics import mean_over_images

SURE = 0.99
"""Confidence with which a network is given up on the first samples."""

_JUDGES: Mapping[str, Judge] = {
    "sqnr": Similarity(),
    "top1": RightAnswers(1),
    "top5": RightAnswers(5),
}

OF_A_MEASURE: Mapping[str, tuple[str, ...]] = {
    "map": ("detection",),
    "map50": ("detection",),
    "shared": ("detection", "text-boxes"),
    "lines": ("text",),
    "score": (),
}
"""Goals in a figure, and the measures that have it; of none that is named, the first is taken."""

OF_SHARES = ("shared", "lines")
"""Goals that say what part of float's own is to stay."""


@dataclass(frozen=True)
class Goal:
    """Something to judge networks by, and the reading of it that is good enough."""

    judge: Judge
    reading: float

    @classmethod
    def parse(cls, text: str, measure: Measure | None = None) -> Goal:
        """From ``sqnr:30``, ``top1:-0.5``, ``map:-1``, ``shared:0.95`` or ``score:-0.01``.

        Args:
            text: as the user gave it.
            measure: that the figure is of; ``score`` is the first.

        Raises:
            UsageError: there is no such goal.
        """
        name, _, reading = text.partition(":")
        if measure is not None and name not in _JUDGES:
            if name in IN_POINTS:
                judge = Figure(measure, "" if name == "map" else name, POINTS, alone=1.0)
            else:
                judge = Figure(measure, "" if name == "score" else name)
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

    @property
    def by_error(self) -> bool:
        """Whether it is of the error of the outputs itself."""
        return isinstance(self.judge, Similarity)

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
