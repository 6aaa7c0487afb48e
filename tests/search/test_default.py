import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from search_helpers import constant, drive, rough_curve

from distq.search.default import DefaultStrategy


def begin(threshold, absmax):
    return DefaultStrategy().search(threshold, absmax)


def valley(bottom, images=16):
    """Images that agree on the best threshold, each with its own depth."""
    depths = 1 + np.arange(images) / images
    return lambda threshold: depths * (0.1 + np.log(threshold / bottom) ** 2)


positive = st.floats(1e-300, 1e300)


@given(threshold=positive, absmax=positive, seed=st.integers(0, 1000))
def test_every_candidate_lies_above_zero_and_not_above_absmax(threshold, absmax, seed):
    search = begin(threshold, absmax)
    asked = drive(search, rough_curve(seed, 20, images=3))
    assert all(0 < candidate <= absmax for candidate in asked)
    assert 0 < search.decision().threshold <= absmax
    assert search.decision().scored == len(asked) <= 12


@given(threshold=positive, absmax=positive)
def test_the_first_round_holds_the_start_cut_at_absmax(threshold, absmax):
    assert min(threshold, absmax) in begin(threshold, absmax).ask()


def test_the_smallest_threshold_a_float_can_hold_is_searched_without_reaching_zero():
    asked = drive(begin(5e-324, 1.0), rough_curve(1, 20))
    assert min(asked) > 0


def test_rounds_are_few_and_small():
    search = begin(1.0, 10.0)
    score = valley(0.8)
    sizes = []
    while pending := search.ask():
        sizes.append(len(pending))
        search.tell({threshold: score(threshold) for threshold in pending})
    assert sizes == [8, 2, 2]


def test_the_first_round_spans_half_to_a_third_more():
    first = begin(1.0, 10.0).ask()
    assert min(first) == 0.5
    assert 1.3 < max(first) < 1.35


@given(bottom=st.floats(0.5, 1.32))
def test_the_best_threshold_within_the_ladder_is_found_to_a_few_percent(bottom):
    search = begin(1.0, 10.0)
    drive(search, valley(bottom))
    assert search.decision().threshold == pytest.approx(bottom, rel=0.06)


def test_an_improvement_in_every_image_is_accepted():
    search = begin(1.0, 10.0)
    drive(search, valley(0.7))
    decision = search.decision()
    assert decision.accepted
    assert decision.reason == "significant"
    assert decision.after < decision.before
    assert decision.insignificant == ()


def test_an_improvement_of_one_image_among_many_is_not():
    search = begin(1.0, 10.0)
    one = np.eye(12)[3]
    drive(search, lambda threshold: 5.0 - one * abs(threshold - 1.0))
    decision = search.decision()
    assert decision.threshold == 1.0
    assert decision.after == decision.before
    assert not decision.accepted
    assert decision.reason.startswith("insignificant: ")
    assert 0.5 in decision.insignificant


def test_a_significant_candidate_is_taken_when_a_better_mean_is_not_significant():
    """0.5 has the lowest mean from one image; all images gain a little at 0.757..."""
    gain = np.linspace(0.9, 1.1, 12)
    jackpot = 500 * np.eye(12)[0]

    def score(threshold):
        if threshold == 0.5:
            return 100.0 - jackpot
        return 100.0 - gain * (0.7 < threshold < 0.8)

    search = begin(1.0, 10.0)
    drive(search, score)
    decision = search.decision()
    assert 0.7 < decision.threshold < 0.8
    assert decision.accepted
    assert 0.5 in decision.insignificant


def test_when_nothing_is_better_the_start_stays():
    search = begin(1.0, 10.0)
    drive(search, valley(1.0))
    decision = search.decision()
    assert (decision.threshold, decision.accepted, decision.reason) == (1.0, False, "no better")


def test_equal_scores_keep_the_start():
    search = begin(1.0, 10.0)
    drive(search, lambda _: constant(1.0, images=8))
    assert search.decision().threshold == 1.0


def test_one_image_alone_never_changes_a_threshold():
    search = begin(1.0, 10.0)
    drive(search, valley(0.7, images=1))
    assert not search.decision().accepted


def test_a_start_above_absmax_is_searched_from_absmax():
    search = begin(50.0, 4.0)
    assert max(search.ask()) == 4.0
    drive(search, lambda _: constant(1.0, images=4))
    assert search.decision().threshold == 4.0


def test_candidates_that_hardly_differ_are_scored_once():
    first = begin(1.0, 1.001).ask()
    assert [threshold for threshold in first if threshold > 0.9] == [1.0]


def test_a_tensor_that_is_always_zero_keeps_its_threshold_and_costs_nothing():
    search = begin(1.0, 0.0)
    decision = search.decision()
    assert search.ask() == ()
    assert (decision.threshold, decision.scored, decision.reason) == (1.0, 0, "always zero")


def test_a_start_without_a_finite_score_is_replaced():
    search = begin(1.0, 10.0)
    drive(search, lambda threshold: constant(np.inf if threshold == 1.0 else threshold, images=4))
    assert search.decision().accepted


def test_pure_noise_changes_a_threshold_no_more_often_than_the_confidence_allows():
    changed = 0
    seeds = 600
    for seed in range(seeds):
        rng = np.random.default_rng(seed)
        difficulty = rng.lognormal(size=24)
        search = begin(1.0, 10.0)
        drive(search, lambda _, rng=rng, difficulty=difficulty: difficulty + rng.normal(size=24))
        changed += search.decision().accepted
    three_deviations = 3 * np.sqrt(0.05 * 0.95 / seeds)
    assert 0 < changed / seeds <= 0.05 + three_deviations
