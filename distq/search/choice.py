"""Which candidate of a tensor is taken: the best on the mean that is significantly better than the start."""

from __future__ import annotations

from distq.search.acceptance import significant_improvement
from distq.search.metrics import mean_over_images
from distq.search.tensor_search import Decision, Insignificant, Scores

CONFIDENCE = 0.9
"""Of the paired test of one tensor, over all its candidates together.

A compromise: at 0.95 some of what lasts on other images is refused (resnet20, 64 images), at 0.8 some of what
is taken does not last (RFB-320).
"""


def choose(
    start: float, scores: Scores, comparisons: int, confidence: float, *, scored: int, dropped: int = 0
) -> Decision:
    """Compare candidates with the start, each once, so that a chain of small lucky steps cannot add up.

    Args:
        start: the threshold to beat.
        scores: of the start and the candidates, all on the same images.
        comparisons: candidates tried, also those that were dropped before.
        confidence: probability that none is taken when all are as good as the start.
        scored: for the decision.
        dropped: for the decision.
    """
    means = {candidate: mean_over_images(diff) for candidate, diff in scores.items()}
    better = sorted((c for c in means if means[c] < means[start]), key=lambda c: (means[c], c))
    chosen, reason = start, "no better"
    rejected: list[Insignificant] = []
    for candidate in better:
        verdict = significant_improvement(scores[candidate], scores[start], comparisons, confidence)
        if verdict.accepted:
            chosen, reason = candidate, verdict.reason
            break
        if not rejected:
            reason = f"insignificant: {verdict.reason}"
        gain = -verdict.mean_difference
        rejected.append(Insignificant(candidate, gain, verdict.t_statistic, verdict.reason))
    return Decision(
        threshold=chosen,
        before=means[start],
        after=means[chosen],
        scored=scored,
        accepted=chosen != start,
        reason=reason,
        dropped=dropped,
        insignificant=tuple(rejected),
    )
