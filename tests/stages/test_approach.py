"""How many parts of an order a goal takes is found by few networks, whose error tells which comes next."""

from __future__ import annotations

from collections.abc import Sequence
from types import SimpleNamespace
from typing import cast

import pytest

from distq.stages.approach import Approach
from distq.stages.candidates import Candidate
from distq.stages.form import Choice
from distq.stages.gains import Gains
from distq.stages.trial import Trial
from distq.stages.trials import Trials

MOST = 100


class Order:
    """A hundred layers, each of which takes away a twentieth of what is left, by estimate."""

    chain = tuple(range(MOST))
    errors = tuple(0.95**count for count in range(MOST + 1))

    def choice(self, count: int) -> Choice:
        return Choice((), tuple(map(str, range(count))))


class Made:
    """Networks have so many times the error estimated; those with at most ``allowed`` meet the goal."""

    def __init__(self, off: float, allowed: float, *, known: bool = True) -> None:
        self.off, self.allowed, self.known = off, allowed, known
        self.counts: list[int] = []

    def trial(self, count: int) -> Trial:
        error = self.off * Order.errors[count]
        return cast("Trial", SimpleNamespace(error=error, count=count, met=error <= self.allowed))

    def of(self, candidates: Sequence[Candidate]) -> list[Trial]:
        counts = [len(candidate.choice.float_layers) for candidate in candidates]
        self.counts += counts
        return [self.trial(count) for count in counts]

    def does(self, trial: Trial) -> bool:
        return trial.met

    def allowed_error(self) -> float | None:
        return self.allowed if self.known else None


def found(made: Made) -> int | None:
    approach = Approach(
        cast("Trials", made),
        cast("Gains", Order()),
        lambda choice: Candidate(str(len(choice.float_layers)), choice=choice),
    )
    best = approach.found(made.trial(0))
    return None if best is None else cast("int", best.count)  # type: ignore[attr-defined]  # of Made


@pytest.mark.parametrize("off", [0.1, 1.0, 30.0])
def test_however_far_the_estimates_are_off_a_few_networks_find_it(off: float) -> None:
    made = Made(off, 0.05 * off)
    fewest = next(count for count in range(MOST) if Order.errors[count] <= 0.05)
    assert found(made) == fewest
    assert len(made.counts) <= 4


def test_where_errors_do_not_tell_thirds_are_tried() -> None:
    made = Made(1.0, 0.05, known=False)
    fewest = next(count for count in range(MOST) if Order.errors[count] <= 0.05)
    best = found(made)
    assert best is not None
    assert fewest <= best <= fewest * 1.15
    assert len(made.counts) <= 10


def test_out_of_reach_all_have_been_tried() -> None:
    made = Made(1.0, 1e-9)
    assert found(made) is None
    assert MOST in made.counts


class Abrupt(Made):
    """Networks miss the goal by little with fewer than twenty parts, and meet it by little with more."""

    def trial(self, count: int) -> Trial:
        error = self.allowed * (1.02 if count < 20 else 0.9)
        return cast("Trial", SimpleNamespace(error=error, count=count, met=error <= self.allowed))


def test_what_is_left_is_halved_where_estimates_always_say_the_next_one_meets_it() -> None:
    assert found(Abrupt(1.0, 0.05)) == 20


def test_where_one_number_is_likely_its_neighbour_is_tried_with_it() -> None:
    approach = Approach(cast("Trials", Made(1.0, 0.05)), cast("Gains", Order()), lambda _: Candidate(""))
    made = {count: Made(1.0, 0.05).trial(count) for count in (0, 57)}
    assert approach._counts(made, 57, 60) == [58, 59]
    assert approach._counts(made, 57, 59) == [58]
