"""Goals: what a sample loses, when that is good enough, and when it is hopeless."""

from __future__ import annotations

import math

import numpy as np
import pytest

from distq.errors import UsageError
from distq.search.goal import Goal

POWER = np.array([2.0])


def test_sqnr_is_met_by_the_mean_share_of_the_error() -> None:
    goal = Goal.parse("sqnr:20")
    results = {"error": np.array([[[0.02], [0.01], [0.03]]])}
    losses = goal.measure.losses(results, 0, POWER)
    assert losses == pytest.approx([0.01, 0.005, 0.015])
    assert goal.limit == pytest.approx(0.01)
    assert goal.met(float(losses.mean()))
    assert not goal.met(0.0101)
    assert goal.measure.reading(0.01) == pytest.approx(20)
    assert goal.measure.reading(0.0) == math.inf


def test_points_count_the_answers_that_only_one_of_both_has() -> None:
    goal = Goal.parse("top1:-25")
    results = {"top1": np.array([[1, 0, 1, 0, 1, -1], [1, 1, 0, 1, 1, -1]], np.int8)}
    losses = goal.measure.losses(results, 0, POWER)
    assert losses.tolist() == [0, 1, -1, 1, 0]
    assert goal.measure.reading(float(losses.mean())) == pytest.approx(-20)
    assert goal.met(float(losses.mean()))
    assert not Goal.parse("top1:-10").met(float(losses.mean()))


def test_points_need_labels() -> None:
    with pytest.raises(UsageError, match="--goal top5 needs labels"):
        Goal.parse("top5:-1").measure.losses({"top5": np.full((2, 4), -1, np.int8)}, 0, POWER)


def test_only_what_misses_surely_is_hopeless() -> None:
    goal = Goal.parse("sqnr:20")
    spread = np.random.default_rng(0).uniform(0.0, 0.02, 32)
    assert not goal.hopeless(spread)
    assert not goal.hopeless(spread + 0.001)
    assert goal.hopeless(spread + 0.02)
    assert not goal.hopeless(np.array([0.5]))


def test_estimates_are_of_the_error_alone() -> None:
    assert Goal.parse("sqnr:20").promising(0.014, 1.5)
    assert not Goal.parse("sqnr:20").promising(0.016, 1.5)
    assert Goal.parse("top1:-1").promising(5.0, 1.5)


def test_an_unknown_measure_is_refused() -> None:
    with pytest.raises(UsageError, match="--goal psnr:30: it is of sqnr, top1, top5"):
        Goal.parse("psnr:30")
