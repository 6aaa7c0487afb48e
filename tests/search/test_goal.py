"""Goals: what a sample loses, when that is good enough, and when it is hopeless."""

from __future__ import annotations

import math

import numpy as np
import pytest

from distq.errors import UsageError
from distq.search.goal import Goal
from distq.search.judges import Figure, RightAnswers, Seen
from distq.search.measures.measure import Measure

POWER = np.array([2.0])


def seen(*, error=(), ours=(), exact=(), records=(), float_records=()) -> Seen:
    hits = {k: np.array(ours, np.float64) for k in (1, 5)}
    float_hits = {k: np.array(exact, np.float64) for k in (1, 5)}
    return Seen(np.array(error, np.float64).reshape(-1, 1), hits, float_hits, records, float_records)


def test_sqnr_is_met_by_the_mean_share_of_the_error() -> None:
    goal = Goal.parse("sqnr:20")
    both = seen(error=[0.02]).and_then(seen(error=[0.01, 0.03]))
    losses = goal.judge.losses(both, POWER)
    assert losses is not None
    assert goal.judge.loss(both, POWER) == pytest.approx(0.01)
    assert losses == pytest.approx([0.01, 0.005, 0.015])
    assert goal.limit == pytest.approx(0.01)
    assert goal.met(float(losses.mean()))
    assert not goal.met(0.0101)
    assert goal.judge.reading(0.01) == pytest.approx(20)
    assert goal.judge.reading(0.0) == math.inf


def test_points_count_the_answers_that_only_one_of_both_has() -> None:
    goal = Goal.parse("top1:-25")
    losses = goal.judge.losses(seen(ours=[1, 0, 1, 0, 1, -1], exact=[1, 1, 0, 1, 1, -1]), POWER)
    assert losses is not None
    assert losses.tolist() == [0, 1, -1, 1, 0]
    assert goal.judge.reading(float(losses.mean())) == pytest.approx(-20)
    assert goal.met(float(losses.mean()))
    assert not Goal.parse("top1:-10").met(float(losses.mean()))


@pytest.mark.parametrize(
    ("samples", "changed", "safe"), [(128, 0, False), (1000, 0, True), (1000, 30, False)]
)
def test_half_a_point_is_told_by_many_samples_with_few_changed_answers(
    samples: int, changed: int, safe: bool
) -> None:
    """Half of the changed answers were right before, the others are right now: nothing is lost on these."""
    goal, losses = Goal.parse("top1:-0.5"), np.zeros(samples)
    losses[:changed:2], losses[1:changed:2] = 1, -1
    assert goal.met(float(losses.mean()))
    assert isinstance(goal.judge, RightAnswers)
    assert goal.met(goal.judge.most(losses)) == safe


def test_points_need_labels() -> None:
    with pytest.raises(UsageError, match="--goal top5 needs labels"):
        Goal.parse("top5:-1").judge.losses(seen(ours=[-1, -1], exact=[-1, -1]), POWER)


def test_only_what_misses_surely_is_hopeless() -> None:
    goal = Goal.parse("sqnr:20")
    spread = np.random.default_rng(0).uniform(0.0, 0.02, 32)
    assert not goal.hopeless(spread)
    assert not goal.hopeless(spread + 0.001)
    assert goal.hopeless(spread + 0.02)
    assert not goal.hopeless(np.array([0.5]))


def test_the_error_of_the_outputs_is_told_beside_a_figure() -> None:
    """A goal in decibels is of the error itself; others are judged by it too, as far as it tells."""
    both = seen(error=[0.02, 0.01], ours=[1, 0], exact=[1, 1], records=[np.array([0.5])])
    for goal in ("sqnr:20", "top1:-1"):
        assert Goal.parse(goal).judge.error(both, POWER) == pytest.approx(0.0075)
    assert Goal.parse("score:-1", Points()).judge.error(both, POWER) == pytest.approx(0.0075)
    assert Goal.parse("score:-1", Apart()).judge.error(both, POWER) == 0.25
    assert Goal.parse("sqnr:20").by_error
    assert not Goal.parse("top1:-1").by_error


def test_an_unknown_measure_is_refused() -> None:
    with pytest.raises(UsageError, match="--goal psnr:30: it is of sqnr, top1, top5"):
        Goal.parse("psnr:30")


class Points(Measure):
    """A made measure."""

    name = "points"

    def score(self, outputs, sample):
        del outputs, sample


class Errors(Points):
    higher_is_better = False
    needs_float = True


class Apart(Points):
    """One that tells how far the outputs are from float's."""

    def error(self, records):
        return float(records[0][0] ** 2)


class Shares(Points):
    """One that compares with float, which would have all."""

    needs_float, own = True, 1.0
    names, errors = ("shared", "added"), frozenset({"added"})

    def finish(self, records):
        return {"shared": float(np.mean(records)), "added": 1 - float(np.mean(records))}


@pytest.mark.parametrize(
    ("goal", "measure", "reading", "lost"),
    [
        ("shared:0.95", Shares(), 0.9, 0.1),
        ("score:0.95", Shares(), 0.9, 0.1),
        ("added:-0.05", Shares(), -0.1, 0.1),
        ("score:-0.2", Errors(), -0.9, 0.9),
        ("map:-2", Points(), -5.0, 0.05),
    ],
)
def test_what_is_lost_is_told_from_what_float_has_itself(goal, measure, reading, lost) -> None:
    judge = Goal.parse(goal, measure).judge
    theirs = [] if measure.needs_float else [np.array([0.95])]
    loss = judge.loss(seen(records=[np.array([0.9])], float_records=theirs), POWER)
    assert judge.reading(loss) == pytest.approx(reading)
    assert judge.lost(loss) == pytest.approx(lost)


def test_what_float_has_of_a_users_own_figure_may_be_unknown() -> None:
    class Unknown(Shares):
        own, names = None, ()

    judge = Goal.parse("score:20", Unknown()).judge
    assert judge.lost(-19.0) is None


def test_a_figure_is_compared_with_that_of_float() -> None:
    goal = Goal.parse("map:-2", Points())
    both = seen(records=[np.array([0.5]), np.array([0.54])], float_records=[np.array([0.55])])
    assert goal.judge.losses(both, POWER) is None
    loss = goal.judge.loss(both, POWER)
    assert goal.judge.reading(loss) == pytest.approx(-3)
    assert not goal.met(loss)
    assert Goal.parse("score:-0.04", Points()).met(loss)
    assert not goal.hopeless(None)


def test_a_figure_beside_float_counts_itself_less_being_better_with_its_sign_turned() -> None:
    goal = Goal.parse("score:-0.2", Errors())
    loss = goal.judge.loss(seen(records=[np.array([0.1]), np.array([0.2])]), POWER)
    assert goal.judge.reading(loss) == pytest.approx(-0.15)
    assert goal.met(loss)


def test_the_map_of_float_is_1_where_its_own_boxes_are_the_truth() -> None:
    loss = Goal.parse("map:-2", Points()).judge.loss(seen(records=[np.array([0.99])]), POWER)
    assert Goal.parse("map:-2", Points()).judge.reading(loss) == pytest.approx(-1)


def test_a_measure_that_says_nothing_is_refused() -> None:
    with pytest.raises(UsageError, match="--measure points says nothing of these samples"):
        Goal.parse("score:-1", Points()).judge.loss(seen(), POWER)


@pytest.mark.parametrize(("spread", "safe"), [(0.1, False), (0.01, True)])
def test_a_figure_of_few_samples_may_be_missed_on_others(spread: float, safe: bool) -> None:
    """Of a mean the jackknife gives the usual standard error."""
    goal = Goal.parse("score:-0.05", Points())
    ours = 0.9 + spread * np.tile([1.0, -1.0], 6)
    both = seen(records=[*ours], float_records=[0.92] * 12)
    assert isinstance(goal.judge, Figure)
    most = goal.judge.most(both)
    assert most == pytest.approx(0.92 - ours.mean() + 1.2816 * ours.std(ddof=1) / 12**0.5)
    assert goal.met(most) == safe


def test_where_records_are_not_of_the_same_samples_nothing_is_said_of_others() -> None:
    judge = Goal.parse("score:-0.05", Points()).judge
    assert isinstance(judge, Figure)
    assert np.isnan(judge.most(seen(records=[0.9, 0.8], float_records=[0.9])))
