"""Every point of an even grid, on all images: dear, and with nothing to get wrong."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from distq.search.choice import CONFIDENCE, choose
from distq.search.tensor_search import Decision, Rule, TensorSearch

POINTS = {1: 4, 2: 8, 3: 16, 4: 32, 5: 64}
"""By ``--effort``: how many thresholds, evenly from absmax / points to absmax."""


class GridSearch(TensorSearch):
    """Scores the start and every point of the grid on all images.

    The point with the lowest mean is taken if it is significantly better than the start; else the next
    lowest that is. A tensor that is zero in every image (``absmax`` 0) keeps its threshold and costs nothing.
    """

    def __init__(
        self, threshold: float, absmax: float, images: int | None, *, points: int, confidence: float
    ) -> None:
        self.points = points
        self.confidence = confidence
        self.images = images
        super().__init__(threshold, absmax)

    def rule(self) -> Rule:
        """One round."""
        if self.absmax == 0:
            return Decision(self.threshold, 0.0, 0.0, scored=0, accepted=False, reason="always zero")
        start = min(self.threshold, self.absmax)
        shares = (step / self.points for step in range(1, self.points + 1))
        grid = tuple(t for share in shares if (t := self.absmax * share) not in {0.0, start})
        for number, candidate in enumerate((start, *grid), start=1):
            yield from self.measure(number, candidate, (start, *grid), self.images)
        scores = {candidate: self.scores_of(candidate)[: self.images] for candidate in (start, *grid)}
        return choose(start, scores, len(grid), self.confidence, scored=len(scores))


@dataclass(frozen=True)
class GridStrategy:
    """``--strategy grid``.

    Attributes:
        points: of one tensor's grid.
        confidence: of the paired test, over all points of a tensor together.
    """

    name: ClassVar[str] = "grid"
    points: int = POINTS[3]
    confidence: float = CONFIDENCE

    def search(self, threshold: float, absmax: float, images: int | None = None) -> TensorSearch:
        """Begin to search one tensor.

        Raises:
            InputError: a threshold that is not positive, or numbers that are not finite.
        """
        return GridSearch(threshold, absmax, images, points=self.points, confidence=self.confidence)
