"""What is told of a search's candidates."""

from __future__ import annotations

import math

import numpy as np
import pytest

from distq.search.default import EFFORTS, DefaultStrategy
from distq.search.tried import tried

START = np.array([3.0, 3.0, 3.0, 3.0])


def test_a_gain_has_the_interval_of_students_t_over_the_images() -> None:
    (found,) = tried(2.0, {2.0: START, 1.0: START - [1.0, 2.0, 3.0, 2.0]})
    assert (found.threshold, found.images, found.diff, found.gain) == (1.0, 4, 1.0, 2.0)
    room = 3.182446 * math.sqrt(2 / 3) / 2  # the 0.975 quantile with 3 degrees of freedom, standard error
    assert (found.low, found.high) == pytest.approx((2 - room, 2 + room), rel=1e-5)


def test_the_images_that_decide_come_first_with_their_part() -> None:
    (found,) = tried(2.0, {2.0: START, 1.0: START - [1.0, -5.0, 0.0, 2.0]})
    assert found.decisive == ((1, -5 / 8), (3, 2 / 8), (0, 1 / 8))


def test_a_candidate_given_up_early_is_compared_on_its_own_images() -> None:
    (found,) = tried(2.0, {2.0: np.array([1.0, 1.0, 9.0, 9.0]), 1.0: np.array([2.0, 2.0])})
    assert (found.images, found.gain) == (2, -1.0)


def test_one_image_says_nothing_of_how_far_the_gain_scatters() -> None:
    (found,) = tried(2.0, {2.0: START[:1], 1.0: START[:1] - 1})
    assert (found.gain, found.low, found.high) == (1.0, -math.inf, math.inf)


def test_scores_that_are_not_finite_lose() -> None:
    (found,) = tried(2.0, {2.0: START, 1.0: np.array([math.inf, 1.0, 1.0, 1.0])})
    assert (found.diff, found.gain, found.decisive) == (math.inf, -math.inf, ())


def test_a_search_tells_every_candidate_that_it_scored() -> None:
    search = DefaultStrategy(EFFORTS[3]).search(2.0, 4.0, 8)
    while asked := search.ask():
        search.tell({t: np.full(8, (t - 1.8) ** 2) + np.arange(8) for t in asked})
    decision = search.decision()
    assert {one.threshold for one in decision.tried} | {2.0} == {*search._scores}
    assert len(decision.tried) == decision.scored - 1
    taken = next(one for one in decision.tried if one.threshold == decision.threshold)
    assert decision.accepted
    assert taken.diff == decision.after
    assert taken.gain == pytest.approx(decision.before - decision.after)
