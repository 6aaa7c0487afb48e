"""What a network that meets the goal can do without: parts taken back, and exchanged for what costs less."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator, Sequence

from distq.stages.candidates import Candidate
from distq.stages.exchanges import cheaper_choices
from distq.stages.form import Choice
from distq.stages.gains import Gains, Item, less
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

MOST_IN_VAIN = 2
"""Rounds in a row that save nothing, or hardly anything, after which no more are tried."""

LEAST_SAVED = 0.05
"""Part of the cost that a round saves which was not in vain."""

MOST_EXCHANGED = 3
"""Rounds in which something chosen is exchanged for something else."""

MOST_LESSENED = TOGETHER * (MOST_PRUNED + MOST_EXCHANGED)
"""Networks that are made at most to take back or exchange what was chosen."""

WORSE = 1.25
"""Times the error that the goal allows which an exchange may have by estimate."""


class Lessening:
    """Makes networks with less of what one has better.

    Args:
        trials: makes and measures them.
        gains: what each part gains and costs, by estimate.
        candidate: of a choice.
    """

    def __init__(self, trials: Trials, gains: Gains, candidate: Callable[[Choice], Candidate]) -> None:
        self._trials = trials
        self._gains = gains
        self._candidate = candidate

    def pruned(self, best: Trial, rival: Trial | None = None) -> Trial:
        """Take back what is not needed: the half that gains least for its cost, a quarter, then one by one.

        Where fewer are left to try in a round than are made together, smaller parts are tried in it as well.

        Args:
            best: a network that meets the goal.
            rival: where none does, the closest: what is as good as it stays.
        """
        part, in_vain = len(best.made.candidate.choice) // 2, 0
        for _ in range(MOST_PRUNED):
            choice = best.made.candidate.choice
            order = self._gains.least_needed(choice)
            part = min(part, len(order) - 1)
            if part < 1 or in_vain == MOST_IN_VAIN:
                break
            tried = self._with_less(choice, order, part, self._most_error(best, rival))
            if part == 1 and not tried:
                break
            found = self._trials.of([candidate for candidate, _ in tried], rival) if tried else []
            kept = [t for t in found if self._stays(t, rival)]
            cheaper = min([best, *kept], key=lambda trial: (self._trials.price(trial), trial.loss))
            if cheaper is best:
                in_vain += part == 1
                part = max(1, part // (2 * TOGETHER))
                continue
            little = self._trials.price(cheaper)[0] > (1 - LEAST_SAVED) * self._trials.price(best)[0]
            best, in_vain = cheaper, in_vain + 1 if little else 0
            if (best.name, 1) in [(candidate.name, count) for candidate, count in tried]:
                part = max(1, part // (2 * TOGETHER))
        return best

    def _with_less(
        self, choice: Choice, order: Sequence[Item], part: int, most: float
    ) -> list[tuple[Candidate, int]]:
        """Candidates that are to be made, each with how many parts it does without.

        Args:
            choice: that parts are left out of.
            order: of the parts.
            part: how many are left out at most.
            most: error by estimate up to which one is made.
        """
        known = {trial.name for trial in self._trials.every}
        large = self._gains.dearest(choice, ALWAYS_TRIED) if part == 1 else []
        tried: dict[str, tuple[Candidate, int]] = {}
        for items in _left_out(order, part):
            if len(tried) == TOGETHER:
                break
            fewer = choice
            for item in items:
                fewer = less(fewer, item)
            if self._gains.error(fewer) > most and items[0] not in large:
                continue
            candidate = self._candidate(self._gains.in_effect(fewer))
            if candidate.name not in known:
                tried[candidate.name] = candidate, len(items)
        return [*tried.values()]

    def _stays(self, trial: Trial, rival: Trial | None) -> bool:
        if rival is None:
            return self._trials.does(trial)
        return not trial.dropped and as_good(trial, rival)

    def _most_error(self, best: Trial, rival: Trial | None) -> float:
        """The error by estimate up to which a network with less than the best is tried.

        The estimate is taken to be as far off as for that one.
        """
        if rival is not None:
            return SLACK * self._gains.error(rival.made.candidate.choice)
        known, allowed = self._gains.error(best.made.candidate.choice), self._trials.allowed_error()
        if allowed is None or not best.error > 0:
            return math.inf
        return SLACK * allowed * max(1.0, known / best.error)

    def exchanged(self, best: Trial) -> Trial:
        """Take something else in the place of what is chosen, where that costs less, as long as one does."""
        for _ in range(MOST_EXCHANGED):
            known = {trial.name for trial in self._trials.every}
            choice, most = best.made.candidate.choice, self._gains.error(best.made.candidate.choice)
            allowed = self._trials.allowed_error()
            if allowed is not None and best.error > 0:  # as far off as for this one
                most *= allowed / best.error
            others = map(self._candidate, cheaper_choices(self._gains, choice, WORSE * most))
            new = (one for one in others if one.name not in known)
            tried = {one.name: one for one in itertools.islice(new, TOGETHER)}
            met = [trial for trial in self._trials.of([*tried.values()]) if self._trials.does(trial)]
            cheaper = min([best, *met], key=lambda trial: (self._trials.price(trial), trial.loss))
            if cheaper is best:
                break
            best = cheaper
        return best


def _left_out(order: Sequence[Item], part: int) -> Iterator[Sequence[Item]]:
    """So many of an order, half of them, and so on to the first alone, then each of the others alone."""
    while part:
        yield order[:part]
        part //= 2
    yield from ([item] for item in order[1:])
