"""What a network that meets the goal can do without: parts taken back, and exchanged for what costs less."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable

from distq.search.goal import Goal
from distq.stages.candidates import Candidate
from distq.stages.exchanges import cheaper_choices
from distq.stages.form import Choice
from distq.stages.gains import Gains, less
from distq.stages.trial import Trial, as_good
from distq.stages.trials import Trials

TOGETHER = 2
"""Candidates made at the same time, however many workers there are, so that all find the same."""

SLACK = 1.5
"""An estimated error up to so many times the limit is tried: making a network anew lowers it, as a rule."""

MOST_PRUNED = 8
"""Rounds in which something chosen is taken back."""

ALWAYS_TRIED = 3
"""Parts that cost most: a network without each is made whatever the estimate says of it."""

MOST_EXCHANGED = 3
"""Rounds in which something chosen is exchanged for something else."""

MOST_LESSENED = TOGETHER * (MOST_PRUNED + MOST_EXCHANGED)
"""Networks that are made at most to take back or exchange what was chosen."""

WORSE = 1.25
"""Times the error that the goal allows which an exchange may have by estimate."""


class Lessening:
    """Makes networks with less of what one has better.

    Args:
        goal: that they are to meet.
        trials: makes and measures them.
        gains: what each part gains and costs, by estimate.
        candidate: of a choice.
    """

    def __init__(
        self, goal: Goal, trials: Trials, gains: Gains, candidate: Callable[[Choice], Candidate]
    ) -> None:
        self._goal = goal
        self._trials = trials
        self._gains = gains
        self._candidate = candidate

    def pruned(self, best: Trial, rival: Trial | None = None) -> Trial:
        """Take back what is not needed: the half that gains least for its cost, a quarter, then one by one.

        Args:
            best: a network that meets the goal.
            rival: where none does, the closest: what is as good as it stays.
        """
        part = len(best.made.candidate.choice) // 2
        for _ in range(MOST_PRUNED):
            choice = best.made.candidate.choice
            order = self._gains.least_needed(choice)
            part = min(part, len(order) - 1)
            if part < 1:
                break
            most = self._most_error(best, rival)
            known = {trial.name for trial in self._trials.every}
            tried: list[Candidate] = []
            large = self._gains.dearest(choice, ALWAYS_TRIED) if part == 1 else []
            for items in [order[:part], order[: part // 2]] if part > 1 else [[item] for item in order]:
                if len(tried) == TOGETHER:
                    break
                fewer = choice
                for item in items:
                    fewer = less(fewer, item)
                if self._gains.error(fewer) > most and items[0] not in large:
                    continue
                candidate = self._candidate(self._gains.in_effect(fewer))
                if candidate.name not in known:
                    tried.append(candidate)
            if part == 1 and not tried:
                break
            found = self._trials.of(tried, rival) if tried else []
            kept = [t for t in found if (t.met if rival is None else not t.dropped and as_good(t, rival))]
            cheaper = min([best, *kept], key=lambda trial: (self._trials.price(trial), trial.loss))
            if cheaper is best:
                part = max(1, part // (2 * TOGETHER))
                continue
            best = cheaper
        return best

    def _most_error(self, best: Trial, rival: Trial | None) -> float:
        """The error by estimate up to which a network with less than the best is tried.

        The estimate is taken to be as far off as for that one.
        """
        if rival is not None:
            return SLACK * self._gains.error(rival.made.candidate.choice)
        known = self._gains.error(best.made.candidate.choice)
        if self._goal.judge.of_error(known) is None or best.loss <= 0:
            return math.inf
        return SLACK * self._goal.limit * max(1.0, known / best.loss)

    def exchanged(self, best: Trial) -> Trial:
        """Take something else in the place of what is chosen, where that costs less, as long as one does."""
        for _ in range(MOST_EXCHANGED):
            known = {trial.name for trial in self._trials.every}
            choice, most = best.made.candidate.choice, self._gains.error(best.made.candidate.choice)
            if self._goal.judge.of_error(most) is not None and best.loss > 0:  # as far off as for this one
                most *= self._goal.limit / best.loss
            others = map(self._candidate, cheaper_choices(self._gains, choice, WORSE * most))
            new = (one for one in others if one.name not in known)
            tried = {one.name: one for one in itertools.islice(new, TOGETHER)}
            met = [trial for trial in self._trials.of([*tried.values()]) if trial.met]
            cheaper = min([best, *met], key=lambda trial: (self._trials.price(trial), trial.loss))
            if cheaper is best:
                break
            best = cheaper
        return best
