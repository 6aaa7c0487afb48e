"""The grid of tpu-mlir's tuner: 22 thresholds up to the largest value, then 10 around the best."""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass
from typing import Any, ClassVar

from distq.search.tensor_search import Decision, Rule, TensorSearch

STEPS = 21
"""The coarse pass goes up to absmax in so many equal steps."""

LOWEST = 3
"""It begins at the starting threshold divided by this."""

FINE_STEPS = 10
"""The fine pass goes from one coarse step below the best to one above in so many."""


class TpuMlirSearch(TensorSearch):
    """The search of one tensor as REFERENCE.md 1.5 describes it; the smallest mean diff is taken.

    Its diffs are of the nodes that read the tensor (``stages/reader_scoring.py``), with all else in float.
    Not taken over from the original, as mistakes:

    * A threshold could only rise, and where KL clipped nothing there was nothing to search. The original's
      option to begin at a third of the threshold and to search the surroundings of the best once more is
      always on here.
    * A range narrower than 0.01 was skipped, however small the tensor's values are.
    * The first candidate only set up the comparison and could not win; here the start is scored too.
    * One candidate was given to all inputs of an Add, Concat or Mul.
    * Of several readers the one that wanted the largest threshold had its way, however much the others lost;
      here the mean over the readers decides.
    * Network outputs, which nothing reads, were left out, and a tensor that was missing ended the search of
      all that followed.

    A tensor that is zero in every image (``absmax`` 0) keeps its threshold and costs nothing.
    """

    def rule(self) -> Rule:
        """A coarse pass and a fine one; all of a pass is asked for together."""
        if self.absmax == 0:
            return Decision(self.threshold, 0.0, 0.0, scored=0, accepted=False, reason="always zero")
        start = min(self.threshold, self.absmax)
        low = start / LOWEST
        step = (self.absmax - low) / STEPS
        means: dict[float, float] = {}
        coarse = [min(low + step * k, self.absmax) for k in range(STEPS + 1)]
        yield from self._pass([start, *coarse], means)
        best = self._best(start, means)
        fine = [best + step * (2 * k / FINE_STEPS - 1) for k in range(FINE_STEPS + 1)]
        yield from self._pass([t for t in fine if 0 < t <= self.absmax], means)
        best = self._best(start, means)
        return Decision(
            threshold=best,
            before=means[start],
            after=means[best],
            scored=len(means),
            accepted=best != start,
            reason="smaller diff" if best != start else "no better",
        )

    def _pass(
        self, candidates: list[float], means: dict[float, float]
    ) -> Generator[tuple[float, ...], Any, None]:
        """Score those that are new, and add their mean diffs."""
        new = [t for t in dict.fromkeys(candidates) if t > 0 and t not in means]
        for candidate in new:
            means[candidate] = yield from self.measure(len(means) + 1, candidate, new)

    def _best(self, start: float, means: dict[float, float]) -> float:
        """The smallest mean diff; the start if nothing is smaller than its own, of equals the lowest."""
        return min(means, key=lambda t: (means[t], t != start, t))


@dataclass(frozen=True)
class TpuMlirStrategy:
    """``--strategy tpu-mlir``."""

    name: ClassVar[str] = "tpu-mlir"

    def search(self, threshold: float, absmax: float, images: int | None = None) -> TensorSearch:  # noqa: ARG002  # scores on all
        """Begin to search one tensor.

        Raises:
            InputError: a threshold that is not positive, or numbers that are not finite.
        """
        return TpuMlirSearch(threshold, absmax)
