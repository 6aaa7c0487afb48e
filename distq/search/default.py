"""distq's own search.

Few candidates, narrowed over growing numbers of images, and a paired test before one is taken.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import ClassVar

from distq.search.choice import CONFIDENCE, choose
from distq.search.tensor_search import Decision, Rule, TensorSearch

SAME = 0.01
"""Candidates closer than this, relative to the larger, are one: their scores would hardly differ."""

FEWEST_IMAGES = 4
"""The first rung has at least so many images: fewer would drop candidates by chance."""


@dataclass(frozen=True)
class Effort:
    """How much one tensor may cost.

    Attributes:
        ladder: candidates of the first rung, as factors of the start.
        first_rung: share of the images that the first rung scores on.
        kept: how many of a rung's candidates go on to the next.
        refinements: how often the two neighbours of the best are scored too, each time at half the step.
    """

    ladder: tuple[float, ...]
    first_rung: float
    kept: int
    refinements: int


EFFORTS = {
    1: Effort((), 1 / 8, 1, 0),
    2: Effort((0.85,), 1 / 8, 1, 0),
    3: Effort((0.8, 0.9, 1.15), 1 / 8, 1, 0),
    4: Effort((0.65, 0.75, 0.85, 0.92, 1.1, 1.25), 1 / 8, 2, 1),
    5: Effort(tuple(2 ** (k / 5) for k in (-5, -4, -3, -2, -1, 1, 2)), 1 / 4, 3, 2),
}
"""By ``--effort``; level 1 scores no candidate, and leaves it at the choice of a start."""


class DefaultSearch(TensorSearch):
    """Successive halving over images, within (0, absmax].

    The ladder's candidates and the start are scored on the first few images. Those that are worse than the
    start on the mean are dropped, the best few go on to half of the images, and what is still better to all
    of them. The start is scored on all of them too, also when no candidate got so far: so the diffs of all
    tensors can be compared. A start above ``absmax`` clips nothing, as absmax itself does, and is replaced by
    it first.

    At the end the candidates that came through are compared with the start, pairwise per image, at a
    confidence that holds for all candidates together, and the one with the lowest mean among the significant
    ones is taken. Testing once, against the start, keeps a chain of small lucky steps from adding up. The
    images of every rung are the first in the fixed order of the samples, so the outcome depends on no worker.

    A tensor that is zero in every image (``absmax`` 0) keeps its threshold; nothing is scored.
    """

    def __init__(
        self, threshold: float, absmax: float, images: int | None, *, effort: Effort, confidence: float
    ) -> None:
        self.effort = effort
        self.confidence = confidence
        self.images = images
        super().__init__(threshold, absmax)

    def rule(self) -> Rule:
        """Rung after rung; the candidates of a rung are asked for together."""
        if self.absmax == 0:
            return Decision(self.threshold, 0.0, 0.0, scored=0, accepted=False, reason="always zero")
        start = min(self.threshold, self.absmax)
        if not self.effort.ladder:
            return Decision(start, 0.0, 0.0, scored=0, accepted=False, reason="not searched at this effort")
        alive = self._distinct((start * factor for factor in self.effort.ladder), [start])
        tried = {*alive}
        finished: list[float] = []
        measured = 0
        for rung in self._rungs():
            finished = alive if rung == self.images else []
            means = {}
            for candidate in (start, *alive):
                measured += 1
                means[candidate] = yield from self.measure(measured, candidate, (start, *alive), rung)
            better = sorted((c for c in alive if means[c] < means[start]), key=lambda c: (means[c], c))
            alive = better[: self.effort.kept]
            if not alive and rung != self.images:
                means[start] = yield from self.measure(measured + 1, start, images=self.images)
            if not alive:
                break
        step = 2**0.1
        for _ in range(self.effort.refinements if alive else 0):
            neighbours = self._distinct((alive[0] / step, alive[0] * step), [start, *tried])
            tried |= {*neighbours}
            finished = [*finished, *neighbours]
            for candidate in neighbours:
                measured += 1
                means[candidate] = yield from self.measure(measured, candidate, neighbours, self.images)
            alive = sorted({*alive, *neighbours}, key=lambda c: (means[c], c))
            step **= 0.5
        scores = {candidate: self.scores_of(candidate)[: self.images] for candidate in (start, *finished)}
        dropped = len(tried) - len(finished)
        return choose(start, scores, len(tried), self.confidence, scored=len(tried) + 1, dropped=dropped)

    def _rungs(self) -> list[int | None]:
        """Numbers of images: a few, half, all."""
        if self.images is None or self.effort.first_rung >= 1:
            return [self.images]
        first = max(FEWEST_IMAGES, round(self.images * self.effort.first_rung))
        few = {n for n in (first, self.images // 2) if FEWEST_IMAGES <= n < self.images}
        return [*sorted(few), self.images]

    def _distinct(self, thresholds: Iterable[float], known: Iterable[float]) -> list[float]:
        """Thresholds cut at absmax, without those that are nearly the same as another or a known one."""
        kept: list[float] = []
        others = list(known)
        for threshold in thresholds:
            candidate = min(threshold, self.absmax)
            if candidate > 0 and all(
                abs(candidate - other) > SAME * max(candidate, other) for other in (*others, *kept)
            ):
                kept.append(candidate)
        return kept


@dataclass(frozen=True)
class DefaultStrategy:
    """``--strategy default``.

    Attributes:
        effort: what one tensor may cost.
        confidence: of the paired test, over all candidates of a tensor together.
    """

    name: ClassVar[str] = "default"
    effort: Effort = EFFORTS[3]
    confidence: float = CONFIDENCE

    def search(self, threshold: float, absmax: float, images: int | None = None) -> TensorSearch:
        """Begin to search one tensor.

        Raises:
            InputError: a threshold that is not positive, or numbers that are not finite.
        """
        return DefaultSearch(threshold, absmax, images, effort=self.effort, confidence=self.confidence)
