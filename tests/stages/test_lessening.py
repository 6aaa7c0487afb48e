"""What a network that meets the goal can do without is found by making it, not by the estimate alone."""

from __future__ import annotations

from collections.abc import Sequence
from types import SimpleNamespace
from typing import cast

from distq.stages.candidates import Candidate
from distq.stages.form import Choice
from distq.stages.gains import Gains, Item
from distq.stages.lessening import Lessening
from distq.stages.trial import Trial
from distq.stages.trials import Trials

PRICE = {"large": 0.5, "small": 0.1, "needed": 0.2}
ESTIMATE = {"large": 9.0, "small": 1.0, "needed": 5.0}
"""Of the error of each in INT8; that of ``large`` is far too high."""


class Known:
    """Estimates of three layers."""

    chain = items = ()

    def error(self, choice: Choice) -> float:
        return 0.01 + sum(error for name, error in ESTIMATE.items() if name not in choice.float_layers)

    def price(self, choice: Choice) -> float:
        return sum(PRICE[name] for name in choice.float_layers)

    def least_needed(self, choice: Choice) -> list[Item]:
        return [Item(float_layers=(name,)) for name in sorted(choice.float_layers, key=ESTIMATE.__getitem__)]

    def dearest(self, choice: Choice, count: int) -> list[Item]:
        names = sorted(choice.float_layers, key=PRICE.__getitem__, reverse=True)
        return [Item(float_layers=(name,)) for name in names[:count]]

    def in_effect(self, choice: Choice) -> Choice:
        return choice


class Made:
    """Trials of networks that meet the goal while ``needed`` is in float."""

    def __init__(self) -> None:
        self.every: list[Trial] = []

    def of(self, candidates: Sequence[Candidate], rival: Trial | None = None) -> list[Trial]:
        del rival
        found = [trial_of(candidate) for candidate in candidates]
        self.every += found
        return found

    def does(self, trial: Trial) -> bool:
        return trial.met

    def allowed_error(self) -> float:
        return 0.01

    def price(self, trial: Trial) -> tuple[float]:
        return (sum(PRICE[name] for name in trial.made.candidate.choice.float_layers),)


def trial_of(candidate: Candidate) -> Trial:
    met = "needed" in candidate.choice.float_layers
    made = SimpleNamespace(candidate=candidate)
    loss = 0.005 if met else 1.0
    trial = SimpleNamespace(name=candidate.name, made=made, met=met, loss=loss, error=loss, dropped=False)
    return cast("Trial", trial)


def candidate_of(choice: Choice) -> Candidate:
    return Candidate(" ".join(choice.float_layers), choice=choice)


def test_the_dearest_part_is_tried_without_though_the_estimate_says_it_is_needed() -> None:
    trials = Made()
    lessening = Lessening(cast("Trials", trials), cast("Gains", Known()), candidate_of)
    (best,) = trials.of([candidate_of(Choice((), ("large", "small", "needed")))])
    found = lessening.pruned(best)
    assert found.made.candidate.choice.float_layers == ("needed",)


class Six(Known):
    """Estimates of six layers: three of them are too much to take back together."""

    def error(self, choice: Choice) -> float:
        return 0.01 + sum(0.001 * 2**i for i, name in enumerate("abcdef") if name not in choice.float_layers)

    def least_needed(self, choice: Choice) -> list[Item]:
        return [Item(float_layers=(name,)) for name in sorted(choice.float_layers)]

    def dearest(self, choice: Choice, count: int) -> list[Item]:
        del choice, count
        return []


class Rounds(Made):
    """Trials of which none meets the goal but the first; each is as dear as it has layers."""

    def __init__(self) -> None:
        super().__init__()
        self.rounds: list[list[str]] = []

    def of(self, candidates: Sequence[Candidate], rival: Trial | None = None) -> list[Trial]:
        self.rounds.append([candidate.name.replace(" ", "") for candidate in candidates])
        return super().of(candidates, rival)

    def does(self, trial: Trial) -> bool:
        return trial is self.every[0]

    def price(self, trial: Trial) -> tuple[float]:
        return (float(len(trial.made.candidate.choice.float_layers)),)


def test_a_round_is_filled_with_smaller_parts() -> None:
    trials = Rounds()
    lessening = Lessening(cast("Trials", trials), cast("Gains", Six()), candidate_of)
    (best,) = trials.of([candidate_of(Choice((), tuple("abcdef")))])
    assert lessening.pruned(best) is best
    assert trials.rounds[1:] == [["bcdef", "acdef"], ["abdef"]]
