from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from search_helpers import constant, distinct, drive, rough_curve

from distq.search.grid import POINTS
from distq.search.strategy import STRATEGIES

every_effort = pytest.mark.parametrize("effort", POINTS)


def begin(threshold, absmax, images=None, effort=2):
    return STRATEGIES["grid"](effort).search(threshold, absmax, images)


@every_effort
@given(threshold=st.floats(1e-300, 1e300), absmax=st.floats(1e-300, 1e300), seed=st.integers(0, 1000))
def test_every_candidate_lies_above_zero_and_not_above_absmax(effort, threshold, absmax, seed):
    search = begin(threshold, absmax, 5, effort)
    asked = distinct(drive(search, rough_curve(seed, 20, images=5)))
    assert all(0 < candidate <= absmax for candidate in asked)
    assert 0 < search.decision().threshold <= absmax
    assert search.decision().scored == len(asked)
    assert search.decision().dropped == 0


def test_the_grid_is_even_up_to_absmax_and_scored_on_all_images_at_once():
    search = begin(3.3, 8.0, 20)
    assert search.ask() == (3.3, 1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0)
    assert search.wanted_images == 20


def test_each_effort_halves_the_spacing():
    grids = [set(begin(3.3, 8.0, effort=effort).ask()) for effort in POINTS]
    assert [len(grid) - 1 for grid in grids] == [4, 8, 16, 32, 64]
    assert all(coarse < fine for coarse, fine in pairwise(grids))


def test_the_significant_point_with_the_lowest_mean_is_taken():
    search = begin(3.3, 8.0, 12)
    drive(search, lambda threshold: abs(threshold - 5.0) * np.linspace(0.9, 1.1, 12))
    assert search.decision().threshold == 5.0
    assert search.decision().reason == "significant"


def test_a_point_that_is_better_by_chance_is_not():
    search = begin(3.3, 8.0, 12)
    drive(search, lambda threshold: 5.0 - np.eye(12)[0] * (threshold == 5.0))
    decision = search.decision()
    assert (decision.threshold, decision.accepted) == (3.3, False)
    assert [rejected.threshold for rejected in decision.insignificant] == [5.0]


def test_a_start_above_absmax_is_replaced_by_absmax():
    search = begin(9.0, 8.0, 4)
    drive(search, lambda _: constant(1.0, images=4))
    assert search.decision().threshold == 8.0


def test_a_tensor_that_is_always_zero_keeps_its_threshold_and_costs_nothing():
    search = begin(1.0, 0.0)
    assert search.ask() == ()
    assert (search.decision().threshold, search.decision().scored) == (1.0, 0)
