"""distq's own search.

Few candidates, narrowed over growing numbers of images, and a paired test before one is taken.
"""

from __future__ import annotations

from collections.abc import Generator, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

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


Means = Generator[tuple[float, ...], Any, dict[float, float]]
"""A part of the rule that ends with the mean diffs of candidates."""


class DefaultSearch(TensorSearch):
    """Successive halving over images, within (0, absmax].

    1. A start above ``absmax`` clips nothing, as ``absmax`` itself does, and is replaced by it.
    2. The start is scored on the first few images, and candidates outwards from it on both sides until one is
       worse. What lies beyond is not scored.
    3. The best few of those better than the start go on to half of the images, and what is still better to
       all of them. The start is scored on all of them in any case, so the diffs of tensors can be compared.
    4. What came through is compared with the start, pairwise per image, at a confidence that holds for all
       candidates together. Of the significant ones the lowest mean is taken.

    One test at the end, against the start, keeps a chain of small lucky steps from adding up. The images of a
    rung are the first in the fixed order of the samples, so the outcome depends on no worker. A tensor that
    is zero in every image (``absmax`` 0) keeps its threshold; nothing is scored.
    """

    def __init__(
        self, threshold: float, absmax: float, images: int | None, *, effort: Effort, confidence: float
    ) -> None:
        self.effort = effort
        self.confidence = confidence
        self.images = images
        self._measurements = 0
        super().__init__(threshold, absmax)

    def rule(self) -> Rule:
        """Rung after rung; the candidates of a rung are asked for together."""
        if self.absmax == 0:
            return Decision(self.threshold, 0.0, 0.0, scored=0, accepted=False, reason="always zero")
        start = min(self.threshold, self.absmax)
        if not self.effort.ladder:
            return Decision(start, 0.0, 0.0, scored=0, accepted=False, reason="not searched at this effort")
        ladder = self._distinct((start * factor for factor in self.effort.ladder), [start])
        few, *more = self._rungs()
        means = yield from self._outwards(start, ladder, few)
        tried, alive = {*means} - {start}, self._better(means, start)
        finished = [] if more else [*tried]
        for rung in more:
            if not alive:
                break
            finished = alive if rung == self.images else []
            means = yield from self._measured((start, *alive), rung)
            alive = self._better(means, start)
        if more and not alive and not finished:
            means |= yield from self._measured((start,), self.images)
        step = 2**0.1
        for _ in range(self.effort.refinements if alive else 0):
            neighbours = self._distinct((alive[0] / step, alive[0] * step), [start, *tried])
            tried |= {*neighbours}
            finished = [*finished, *neighbours]
            means |= yield from self._measured(neighbours, self.images)
            alive = sorted({*alive, *neighbours}, key=lambda c: (means[c], c))
            step **= 0.5
        scores = {candidate: self.scores_of(candidate)[: self.images] for candidate in (start, *finished)}
        dropped = len(tried) - len(finished)
        comparisons = len(tried | {*ladder})
        return choose(start, scores, comparisons, self.confidence, scored=len(tried) + 1, dropped=dropped)

    def _outwards(self, start: float, ladder: list[float], images: int | None) -> Means:
        """Mean diffs of the start, and on both sides of it of what is no further than the first worse."""
        lower = sorted((c for c in ladder if c < start), reverse=True)
        higher = sorted(c for c in ladder if c > start)
        means: dict[float, float] = {}
        ahead = [start, *lower[:1], *higher[:1]]
        while ahead:
            means |= yield from self._measured(ahead, images)
            ahead = []
            for side in (lower, higher):
                seen = [c for c in side if c in means]
                if seen and means[seen[-1]] <= means[start]:
                    ahead += side[len(seen) : len(seen) + 1]
        return means

    def _measured(self, candidates: Iterable[float], images: int | None) -> Means:
        """Mean diffs of candidates, all asked for together."""
        means = {}
        for candidate in (together := tuple(candidates)):
            self._measurements += 1
            means[candidate] = yield from self.measure(self._measurements, candidate, together, images)
        return means

    def _better(self, means: Mapping[float, float], start: float) -> list[float]:
        """The best few of those that beat the start, best first."""
        better = sorted((c for c in means if means[c] < means[start]), key=lambda c: (means[c], c))
        return better[: self.effort.kept]

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
