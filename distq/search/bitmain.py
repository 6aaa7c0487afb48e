"""The stop rule of the Bitmain tuner, to the letter (REFERENCE.md 1.1)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from distq.search.log import UNMEASURED
from distq.search.tensor_search import Decision, Rule, TensorSearch

FACTORS = (1.01, 0.99)
"""Candidate k of a sweep is the starting threshold times factor**k: upwards first, then downwards."""

FAILURES = 3
"""A sweep stops at this many failures."""


class BitmainSearch(TensorSearch):
    """Two sweeps from the starting threshold; any smaller diff is accepted.

    A candidate that is no better than the best so far is a failure only if it is also no better than the one
    before it in its sweep; a new best sets the failures back to 0, and so does a new sweep. The best survives
    from sweep to sweep. Both sweeps measure the starting threshold: it counts twice, though the second score
    comes from memory. There is no bound on a candidate, so ``absmax`` is not used.

    A diff that is not finite is never the best and counts as a failure, except at k=0, which cannot fail.
    """

    def rule(self) -> Rule:
        """The serial loop; candidates it is certain to reach are asked for together."""
        start = self.threshold
        best, best_diff = start, UNMEASURED
        before, scored = UNMEASURED, 0
        for sweep, factor in enumerate(FACTORS):
            failures, step, previous = 0, 0, UNMEASURED
            while failures < FAILURES:
                candidate = start * factor**step
                diff = yield from self.measure(step + 1, candidate, self._certain(sweep, step, failures))
                scored += 1
                if step == 0:
                    before = diff
                if diff < best_diff:
                    best, best_diff, failures = candidate, diff, 0
                elif step > 0 and diff >= previous:
                    failures += 1
                previous, step = diff, step + 1
        accepted = best != start
        return Decision(
            threshold=best,
            before=before,
            after=best_diff if accepted else before,
            scored=scored,
            accepted=accepted,
            reason="smaller diff" if accepted else "no better",
        )

    def original_diff(self, decision: Decision) -> float:  # noqa: ARG002  # the original never measured it
        """The original tuner's last line compares with the largest double, never with a measured diff."""
        return UNMEASURED

    def _certain(self, sweep: int, step: int, failures: int) -> list[float]:
        """Candidates from ``step`` on that will be measured whatever the scores.

        One candidate adds at most one failure, so as many as failures are left to reach; one more at k=0,
        which cannot fail. The same holds for the start of the sweeps to come.
        """
        reach = step + FAILURES - failures + (step == 0)
        ahead = [(FACTORS[sweep], k) for k in range(step, reach)]
        ahead += [(factor, k) for factor in FACTORS[sweep + 1 :] for k in range(FAILURES + 1)]
        return [self.threshold * factor**k for factor, k in ahead]


@dataclass(frozen=True)
class BitmainStrategy:
    """``--strategy bitmain``."""

    name: ClassVar[str] = "bitmain"

    def search(self, threshold: float, absmax: float, images: int | None = None) -> TensorSearch:  # noqa: ARG002  # scores on all
        """Begin to search one tensor from ``threshold``; ``absmax`` is only checked.

        Raises:
            InputError: a threshold that is not positive, or numbers that are not finite.
        """
        return BitmainSearch(threshold, absmax)
