"""How many parts of an order it takes to meet a goal, by few networks.

The error of a network's outputs is measured with every network, beside what the goal is of. It tells how far
off the estimates are, and so which network is to be made next.
"""

from __future__ import annotations

import math
from collections.abc import Callable

from distq.stages.candidates import Candidate
from distq.stages.form import Choice
from distq.stages.gains import Gains
from distq.stages.trial import Trial
from distq.stages.trials import Trials

MOST_ROUNDS = 6
"""Rounds, of two networks each, that look for the fewest parts."""

MOST_APPROACHING = 2 * MOST_ROUNDS
"""Networks that are made at most."""

CLOSE = 8
"""One part in so many more than needed is near enough: what is not needed is taken back later."""

SAFER = 2.0
"""Times less error than is allowed, with which the second network of a round is made."""


class Approach:
    """Makes networks with the first so many parts of an order better than 8 bit.

    Args:
        trials: makes and measures them.
        gains: the order, and the error of each number of parts by estimate.
        candidate: of a choice.
    """

    def __init__(self, trials: Trials, gains: Gains, candidate: Callable[[Choice], Candidate]) -> None:
        self._trials = trials
        self._gains = gains
        self._candidate = candidate

    def found(self, start: Trial) -> Trial | None:
        """A network with hardly more parts than the goal needs; None: not even all meet it.

        Args:
            start: the network without any, which misses it.
        """
        most = len(self._gains.chain)
        made = {0: start}
        for _ in range(MOST_ROUNDS):
            fails, meets = self._bracket(made)
            if meets - fails <= max(1, min(meets, most) // CLOSE if meets <= most else 1):
                break
            counts = self._counts(made, fails, min(meets, most + 1))
            trials = self._trials.of([self._candidate(self._gains.choice(count)) for count in counts])
            made |= dict(zip(counts, trials, strict=True))
        _, meets = self._bracket(made)
        if meets > most >= 1 and most not in made:
            made |= {most: self._trials.of([self._candidate(self._gains.choice(most))])[0]}
            _, meets = self._bracket(made)
        return made.get(meets)

    def _bracket(self, made: dict[int, Trial]) -> tuple[int, int]:
        """The most parts that are known to miss the goal, and the fewest above that meet it."""
        does = {count for count, trial in made.items() if count and self._trials.does(trial)}
        meets = min(does, default=len(self._gains.chain) + 1)
        return max(count for count in made if count < meets), meets

    def _counts(self, made: dict[int, Trial], fails: int, meets: int) -> list[int]:
        """Numbers of parts between the two: where the error is probably what is allowed, and more.

        Two wherever there are two, as a round of one network leaves workers idle and tells less.
        """
        allowed = self._trials.allowed_error()
        if allowed is None:
            return sorted({fails + max(1, (meets - fails) * part // 3) for part in (1, 2)} - {meets})
        first, safer = (self._first(made, error, fails, meets) for error in (allowed, allowed / SAFER))
        if first < safer:  # up to the middle of what is left if the first misses it
            return [first, min(safer, max(first + 1, (first + meets) // 2))]
        beside = [count for count in (first - 1, first + 1) if fails < count < meets]
        return sorted({first, *beside[:1]})

    def _first(self, made: dict[int, Trial], error: float, fails: int, meets: int) -> int:
        """The fewest parts between the two with this error, estimates being as far off as nearby."""
        errors = self._gains.errors
        for count in range(fails + 1, meets):
            if errors[count] <= 0:
                return count
            near = min(made, key=lambda one: abs(math.log(max(errors[one], 1e-300) / errors[count])))
            off = made[near].error / errors[near] if errors[near] > 0 else 1.0
            if off * errors[count] <= error:
                return count
        return meets - 1
