import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from distq.errors import ExecutionError, UsageError
from distq.search.acceptance import (
    beyond_chance,
    one_image_carries,
    paired_standard_error,
    significant_improvement,
    student_quantile,
)

scores = hnp.arrays(np.float64, st.integers(2, 20), elements=st.floats(-1e6, 1e6))


@pytest.mark.parametrize(
    ("probability", "degrees", "table"),
    [
        (0.90, 1, 3.078),
        (0.95, 1, 6.314),
        (0.99, 1, 31.82),
        (0.9995, 1, 636.6),
        (0.95, 2, 2.920),
        (0.975, 2, 4.303),
        (0.95, 3, 2.353),
        (0.995, 4, 4.604),
        (0.975, 10, 2.228),
        (0.9995, 10, 4.587),
        (0.99, 30, 2.457),
        (0.95, 60, 1.671),
        (0.975, 120, 1.980),
        (0.95, 100_000, 1.645),
    ],
)
def test_student_quantiles_agree_with_the_printed_tables(probability, degrees, table):
    assert student_quantile(probability, degrees) == pytest.approx(table, rel=5e-4)


@given(st.floats(0.5, 0.999999), st.floats(0.5, 0.999999), st.integers(1, 200))
def test_student_quantiles_grow_with_probability(one, other, degrees):
    low, high = sorted((one, other))
    assert student_quantile(low, degrees) <= student_quantile(high, degrees)


@pytest.mark.parametrize(("probability", "degrees"), [(0.4, 3), (1.0, 3), (0.95, 0)])
def test_a_quantile_that_does_not_exist_is_refused(probability, degrees):
    with pytest.raises(UsageError, match="at least 1 degree"):
        student_quantile(probability, degrees)


def test_statistic_and_standard_error_of_a_worked_example():
    """Differences -1, -2, -3: mean -2, deviation 1, so t = -2 * sqrt(3)."""
    candidate, incumbent = np.array([4.0, 3.0, 2.0]), np.full(3, 5.0)
    verdict = significant_improvement(candidate, incumbent)
    assert paired_standard_error(candidate, incumbent) == pytest.approx(1 / math.sqrt(3))
    assert verdict.mean_difference == -2.0
    assert verdict.t_statistic == pytest.approx(-2 * math.sqrt(3))
    assert verdict.critical == pytest.approx(2.920, rel=1e-3)
    assert verdict.accepted
    assert verdict.reason == "significant"


def test_what_one_comparison_accepts_many_comparisons_do_not():
    candidate, incumbent = np.array([4.0, 3.0, 2.0]), np.full(3, 5.0)
    verdict = significant_improvement(candidate, incumbent, comparisons=10)
    assert verdict.critical == pytest.approx(student_quantile(0.995, 2))
    assert not verdict.accepted
    assert verdict.reason == "t -3.46, needs below -9.92"


@given(scores, st.integers(1, 50))
def test_better_one_way_is_never_better_the_other_way(candidate, comparisons):
    incumbent = np.zeros_like(candidate)
    there = significant_improvement(candidate, incumbent, comparisons)
    back = significant_improvement(incumbent, candidate, comparisons)
    assert not (there.accepted and back.accepted)
    assert not there.accepted or there.mean_difference < 0


@given(scores, st.randoms(use_true_random=False))
def test_the_order_of_images_does_not_matter(candidate, rng):
    order = list(range(len(candidate)))
    rng.shuffle(order)
    incumbent = np.linspace(0, 1, len(candidate))
    straight = significant_improvement(candidate, incumbent)
    assert significant_improvement(candidate[order], incumbent[order]) == straight


@given(scores, st.floats(0, 1e6))
def test_what_many_comparisons_accept_one_comparison_accepts(noise, gain):
    candidate, incumbent = noise - gain, np.zeros_like(noise)
    many = significant_improvement(candidate, incumbent, comparisons=5)
    one = significant_improvement(candidate, incumbent, comparisons=1)
    assert one.accepted or not many.accepted


@given(scores)
def test_one_image_cannot_carry_the_whole_gain(candidate):
    incumbent = np.zeros_like(candidate)
    verdict = significant_improvement(candidate, incumbent, confidence=0.5)
    if verdict.accepted:
        assert math.fsum(np.sort(candidate)[1:]) <= 0


def test_a_gain_that_one_image_carries_is_named_as_such():
    verdict = significant_improvement(np.array([-10.0, 0.5, 0.5]), np.zeros(3), confidence=0.5)
    assert not verdict.accepted
    assert verdict.reason == "one image carries the gain"


def test_equal_improvements_of_all_images_are_accepted():
    verdict = significant_improvement(np.full(2, 0.75), np.full(2, 1.0), comparisons=100)
    assert verdict.accepted
    assert verdict.t_statistic == -math.inf


@pytest.mark.parametrize("change", [0.0, 0.25])
def test_no_change_and_equal_losses_are_not(change):
    verdict = significant_improvement(np.full(4, 1.0 + change), np.full(4, 1.0))
    assert not verdict.accepted
    assert verdict.reason == "no better"


@pytest.mark.parametrize("incumbent", [1.0, math.inf])
def test_one_image_is_never_enough(incumbent):
    verdict = significant_improvement(np.array([0.0]), np.array([incumbent]))
    assert not verdict.accepted
    assert verdict.reason == "only one image"


def test_scores_that_are_not_finite_lose():
    good, bad = np.array([1.0, 2.0]), np.array([1.0, math.nan])
    assert not significant_improvement(bad, good).accepted
    assert not significant_improvement(bad, bad).accepted
    assert significant_improvement(good, bad).accepted


def test_noise_is_accepted_about_as_often_as_the_confidence_says():
    rng = np.random.default_rng(7)
    trials = 2000
    accepted = sum(
        significant_improvement(rng.normal(size=16), np.zeros(16), confidence=0.9).accepted
        for _ in range(trials)
    )
    assert accepted / trials == pytest.approx(0.1, abs=3 * math.sqrt(0.1 * 0.9 / trials))


def test_small_gains_of_most_images_do_not_outweigh_rare_large_losses_that_few_images_show():
    """Exponential differences of mean 0, where a plain t-test accepts over half as many again."""
    rng = np.random.default_rng(7)
    trials = 2000
    accepted = uncorrected = 0
    for _ in range(trials):
        losses = rng.exponential(size=64) - 1
        accepted += significant_improvement(losses, np.zeros(64)).accepted
        error = paired_standard_error(losses, np.zeros(64))
        uncorrected += losses.mean() / error < -student_quantile(0.95, 63)
    three_deviations = 3 * math.sqrt(0.05 * 0.95 / trials)
    assert accepted / trials <= 0.05 + three_deviations < uncorrected / trials


def test_the_standard_error_of_one_image_is_unknown():
    assert paired_standard_error(np.array([1.0]), np.array([2.0])) == math.inf


def test_the_standard_error_of_values_that_are_not_finite_is_unknown():
    assert paired_standard_error(np.array([1.0, math.inf]), np.array([2.0, math.inf])) == math.inf


def test_a_gain_of_more_than_a_standard_error_is_beyond_chance():
    incumbent = np.full(4, 10.0)
    noise = np.array([-1.0, 1.0, -1.0, 1.0])
    error = paired_standard_error(incumbent + noise, incumbent)
    assert beyond_chance(incumbent + noise - 1.01 * error, incumbent)
    assert not beyond_chance(incumbent + noise - 0.99 * error, incumbent)
    assert not beyond_chance(incumbent, incumbent)


def test_of_two_choices_at_most_one_is_beyond_chance_and_a_finite_one_beats_one_that_is_not():
    a, b = np.random.default_rng(0).random((2, 9))
    assert beyond_chance(a, b) + beyond_chance(b, a) <= 1
    broken = np.array([0.1, np.nan])
    assert beyond_chance(np.ones(2), broken)
    assert not beyond_chance(broken, np.ones(2))
    assert not beyond_chance(np.zeros(1), np.ones(1))


def test_scores_of_other_images_cannot_be_compared():
    with pytest.raises(ExecutionError, match="score the same images"):
        significant_improvement(np.zeros(3), np.zeros(4))
    with pytest.raises(ExecutionError, match="score the same images"):
        paired_standard_error(np.zeros(0), np.zeros(0))


@pytest.mark.parametrize(("comparisons", "confidence"), [(0, 0.95), (1, 1.0), (1, 0.2)])
def test_a_test_that_makes_no_sense_is_refused(comparisons, confidence):
    with pytest.raises(UsageError, match="at least 1 comparison"):
        significant_improvement(np.zeros(3), np.ones(3), comparisons, confidence)


@pytest.mark.parametrize(
    ("others", "carries"), [([0.1, 0.0, 0.0], True), ([-0.1, 0.0, 0.0], False), ([0.0, 0.0, 0.0], True)]
)
def test_one_image_carries_a_gain_that_is_none_without_it(others: list[float], carries: bool) -> None:
    incumbent = np.array([10.0, 1.0, 1.0, 1.0])
    candidate = incumbent + np.array([-9.0, *others])
    assert one_image_carries(candidate, incumbent) is carries
