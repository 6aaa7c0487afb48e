import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from search_helpers import constant, distinct, drive, rough_curve

from distq.search.strategy import STRATEGIES


def begin(threshold, absmax):
    return STRATEGIES["tpu-mlir"](3).search(threshold, absmax)


def test_the_first_pass_is_the_start_and_22_points_from_a_third_of_it_to_absmax():
    start, *points = begin(3.1, 22.0).ask()
    assert start == 3.1
    assert points == pytest.approx(np.linspace(3.1 / 3, 22.0, 22))


def test_the_second_pass_is_one_step_around_the_best_in_ten():
    search = begin(3.0, 22.0)
    first = search.ask()
    search.tell({threshold: constant(abs(threshold - 7.0)) for threshold in first})
    assert sorted(search.ask()) == pytest.approx([6.2, 6.4, 6.6, 6.8, 7.2, 7.4, 7.6, 7.8])


@given(bottom=st.floats(1.0, 22.0))
def test_the_best_of_a_valley_is_found_within_a_fine_step(bottom):
    search = begin(3.0, 22.0)
    drive(search, lambda threshold: constant((threshold - bottom) ** 2))
    assert search.decision().threshold == pytest.approx(bottom, abs=0.11)


@given(threshold=st.floats(1e-300, 1e300), absmax=st.floats(1e-300, 1e300), seed=st.integers(0, 1000))
def test_every_candidate_lies_above_zero_and_not_above_absmax(threshold, absmax, seed):
    search = begin(threshold, absmax)
    asked = distinct(drive(search, rough_curve(seed, 20)))
    assert all(0 < candidate <= absmax for candidate in asked)
    assert 0 < search.decision().threshold <= absmax
    assert search.decision().scored == len(asked) <= 33


@given(seed=st.integers(0, 10_000), levels=st.integers(1, 20))
def test_the_decision_is_the_smallest_diff_of_all_that_was_scored(seed, levels):
    score = rough_curve(seed, levels)
    search = begin(2.0, 5.0)
    asked = distinct(drive(search, score))
    decision = search.decision()
    smallest = min(score(threshold)[0] for threshold in asked)
    assert decision.after == smallest
    assert decision.accepted == (smallest < decision.before)
    assert (decision.threshold == 2.0) == (not decision.accepted)


def test_a_threshold_may_fall_also_where_nothing_was_clipped():
    search = begin(5.0, 5.0)
    drive(search, constant)
    assert search.decision().threshold < 5.0


def test_small_values_are_searched_too():
    search = begin(1e-4, 2e-4)
    drive(search, lambda threshold: constant(abs(threshold - 1.5e-4)))
    assert search.decision().threshold == pytest.approx(1.5e-4, rel=0.01)


def test_a_tensor_that_is_always_zero_keeps_its_threshold_and_costs_nothing():
    search = begin(1.0, 0.0)
    assert search.ask() == ()
    assert (search.decision().threshold, search.decision().scored) == (1.0, 0)
