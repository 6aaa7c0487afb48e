"""distq's own search: a coarse ladder, finer steps around the best, and a paired test before it is taken."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import ClassVar

from distq.search.acceptance import Verdict, significant_improvement
from distq.search.tensor_search import Decision, Rule, TensorSearch

STEPS_PER_OCTAVE = 5
"""Neighbours on the coarse ladder differ by 2**(1/5), about 15 %."""

LADDER = tuple(range(-5, 3))
"""Steps from the start: from half of it to 1.32 times it."""

SAME = 0.01
"""Candidates closer than this, relative to the larger, are one: their scores would hardly differ."""


class DefaultSearch(TensorSearch):
    """Coarse to fine over factors of the starting threshold, within (0, absmax].

    A start above ``absmax`` clips nothing, as absmax itself does, and is replaced by it first. Round 1 scores
    the start and the ladder; each further round scores the two neighbours of the best mean so far, at half
    the step. All candidates are then compared with the start, pairwise per image, at a confidence that holds
    for all of them together, and the one with the lowest mean among the significant ones is taken. Testing
    once at the end, against the start, keeps a chain of small lucky steps from adding up.

    A tensor that is zero in every image (``absmax`` 0) keeps its threshold; nothing is scored.
    """

    def __init__(self, threshold: float, absmax: float, *, rounds: int, confidence: float) -> None:
        self.rounds = rounds
        self.confidence = confidence
        super().__init__(threshold, absmax)

    def rule(self) -> Rule:
        """The rounds; a round's candidates are asked for together."""
        if self.absmax == 0:
            return Decision(self.threshold, 0.0, 0.0, scored=0, accepted=False, reason="always zero")
        start = min(self.threshold, self.absmax)
        means: dict[float, float] = {}
        step = 2 ** (1 / STEPS_PER_OCTAVE)
        wanted = self._distinct([start, *(start * 2 ** (k / STEPS_PER_OCTAVE) for k in LADDER)], means)
        for finer in range(self.rounds):
            if finer:
                step **= 0.5
                best = min(means, key=means.__getitem__)  # the first of equals, so the start wins a tie
                wanted = self._distinct([best / step, best * step], means)
            for candidate in wanted:
                means[candidate] = yield from self.measure(len(means) + 1, candidate, wanted)
        return self._decide(start, means)

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

    def _decide(self, start: float, means: dict[float, float]) -> Decision:
        better = sorted((mean, candidate) for candidate, mean in means.items() if mean < means[start])
        rejected: list[tuple[float, Verdict]] = []
        chosen = start
        for _, candidate in better:
            verdict = significant_improvement(
                self.scores_of(candidate), self.scores_of(start), max(1, len(means) - 1), self.confidence
            )
            if not verdict.accepted:
                rejected.append((candidate, verdict))
            elif chosen == start:
                chosen = candidate
        if chosen != start:
            reason = "significant"
        else:
            reason = f"insignificant: {rejected[0][1].reason}" if rejected else "no better"
        return Decision(
            threshold=chosen,
            before=means[start],
            after=means[chosen],
            scored=len(means),
            accepted=chosen != start,
            reason=reason,
            insignificant=tuple(candidate for candidate, _ in rejected),
        )


@dataclass(frozen=True)
class DefaultStrategy:
    """``--strategy default``.

    Attributes:
        rounds: the coarse ladder and how many refinements, together.
        confidence: of the paired test, over all candidates of a tensor together.
    """

    name: ClassVar[str] = "default"
    rounds: int = 3
    confidence: float = 0.95

    def search(self, threshold: float, absmax: float) -> TensorSearch:
        """Begin to search one tensor.

        Raises:
            InputError: a threshold that is not positive, or numbers that are not finite.
        """
        return DefaultSearch(threshold, absmax, rounds=self.rounds, confidence=self.confidence)
