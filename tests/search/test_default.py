import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from search_helpers import constant, distinct, drive, rough_curve

from distq.search.choice import CONFIDENCE
from distq.search.default import EFFORTS, DefaultStrategy

SEARCHING = [effort for effort in EFFORTS if effort > 1]
every_effort = pytest.mark.parametrize("effort", SEARCHING)


def begin(threshold, absmax, images=None, effort=3):
    return DefaultStrategy(EFFORTS[effort]).search(threshold, absmax, images)


def valley(bottom, images=16):
    """Images that agree on the best threshold, each with its own depth."""
    depths = 1 + np.arange(images) / images
    return lambda threshold: depths * (0.1 + np.log(threshold / bottom) ** 2)


def rungs(asked):
    """What was asked for on each number of images, in the order of the rungs."""
    found = {}
    for threshold, images in asked:
        found.setdefault(images, []).append(threshold)
    return found


positive = st.floats(1e-300, 1e300)


@every_effort
@given(threshold=positive, absmax=positive, seed=st.integers(0, 1000), images=st.integers(1, 40))
def test_every_candidate_lies_above_zero_and_not_above_absmax(effort, threshold, absmax, seed, images):
    search = begin(threshold, absmax, images, effort)
    asked = distinct(drive(search, rough_curve(seed, 20, images)))
    assert all(0 < candidate <= absmax for candidate in asked)
    assert 0 < search.decision().threshold <= absmax
    assert search.decision().scored == len(asked)


@every_effort
@given(threshold=positive, absmax=positive)
def test_the_first_round_holds_the_start_cut_at_absmax(effort, threshold, absmax):
    assert min(threshold, absmax) in begin(threshold, absmax, effort=effort).ask()


@every_effort
def test_the_smallest_threshold_a_float_can_hold_is_searched_without_reaching_zero(effort):
    asked = distinct(drive(begin(5e-324, 1.0, effort=effort), rough_curve(1, 20)))
    assert min(asked) > 0


@pytest.mark.parametrize(
    ("images", "expected"),
    [(64, [8, 32, 64]), (20, [4, 10, 20]), (8, [4, 8]), (6, [4, 6]), (4, [4]), (1, [1])],
)
def test_a_good_candidate_is_asked_for_on_few_images_first_then_on_half_and_on_all(images, expected):
    asked = drive(begin(1.0, 10.0, images), valley(0.8, images))
    assert [wanted for threshold, wanted in asked if threshold == 0.8] == expected


@every_effort
@given(images=st.integers(1, 200))
def test_rungs_grow_up_to_all_images_and_start_with_at_least_four(effort, images):
    asked = list(rungs(drive(begin(1.0, 10.0, images, effort), valley(0.8, images))))
    assert asked == sorted(set(asked))
    assert asked[-1] == images
    assert asked[0] >= min(images, 4)


def test_a_candidate_worse_than_the_start_on_the_first_rung_is_never_asked_for_on_more_images():
    for effort in SEARCHING:
        asked = rungs(drive(begin(1.0, 10.0, 64, effort), valley(0.9, 64)))
        first, *later = asked.values()
        worse = [t for t in first if valley(0.9)(t)[0] > valley(0.9)(1.0)[0]]
        assert worse or effort < 3
        assert not {t for rung in later for t in rung} & set(worse)


@every_effort
@given(seed=st.integers(0, 10_000))
def test_what_a_rung_drops_does_not_come_back(effort, seed):
    """Near a dropped candidate there is nothing to find either."""
    score = rough_curve(seed, 12, images=64)
    asked = rungs(drive(begin(1.0, 1.2, 64, effort), score))
    if len(asked) < 2:
        return
    (few, first), *_ = asked.items()
    dropped = {t for t in first if score(t)[:few].mean() > score(1.0)[:few].mean() + 1e-9}
    for images, rung in asked.items():
        if images != few:
            assert all(abs(t - d) > 0.01 * d for t in rung for d in dropped)


def test_a_search_that_drops_all_candidates_at_once_costs_a_few_images_each():
    asked = rungs(drive(begin(1.0, 10.0, 64), valley(1.0, 64)))
    assert {images: len(thresholds) for images, thresholds in asked.items()} == {8: 3, 64: 1}
    assert asked[64] == [1.0]


def test_beyond_a_worse_candidate_nothing_is_scored_on_its_side():
    asked = rungs(drive(begin(1.0, 10.0, 64, effort=4), valley(0.75, 64)))
    assert max(asked[8]) == pytest.approx(1.1)
    assert min(asked[8]) < 0.75


def test_only_the_best_of_a_rung_goes_on():
    asked = rungs(drive(begin(1.0, 10.0, 64), valley(0.85, 64)))
    assert set(asked[8]) == {0.8, 0.9, 1.0, 1.15}
    assert set(asked[32]) == set(asked[64]) == {0.9, 1.0}


def test_a_candidate_that_misleads_the_first_rung_is_found_out_on_more_images():
    """Better on the first 8 images, worse on all others."""
    early = np.arange(64) < 8

    def score(threshold):
        return np.where(early, 1.0 - 0.1 * (threshold == 0.9), 1.0 + (threshold == 0.9)) * np.ones(64)

    search = begin(1.0, 10.0, 64)
    asked = rungs(drive(search, score))
    assert 0.9 in asked[8]
    assert 0.9 in asked[32]
    assert 0.9 not in asked[64]
    assert search.decision().reason == "no better"


@every_effort
def test_a_candidate_told_on_few_images_is_asked_for_again_on_more(effort):
    search = begin(1.0, 10.0, 64, effort)
    score = valley(0.85, 64)
    search.tell({0.85: score(0.85)})
    asked = drive(search, score)
    assert (0.85, 64) not in asked
    assert (1.0, 64) in asked


def test_each_effort_asks_for_more_candidates():
    sizes = [len(distinct(drive(begin(1.0, 10.0, 64, effort), valley(0.8, 64)))) for effort in EFFORTS]
    assert sizes == sorted(set(sizes))
    assert sizes[0] == 0


def test_each_effort_costs_more_images():
    costs = [
        sum(images for _, images in drive(begin(1.0, 10.0, 64, effort), valley(0.9, 64)))
        for effort in EFFORTS
    ]
    assert costs == sorted(set(costs))


@pytest.mark.parametrize(("threshold", "absmax"), [(1.0, 10.0), (4.0, 3.0)])
def test_the_least_effort_scores_nothing_and_keeps_the_start_within_absmax(threshold, absmax):
    search = begin(threshold, absmax, 64, effort=1)
    decision = search.decision()
    assert search.ask() == ()
    assert (decision.threshold, decision.scored) == (min(threshold, absmax), 0)
    assert not decision.accepted
    assert decision.reason == "not searched at this effort"


@pytest.mark.parametrize(("effort", "tolerance"), [(3, 0.16), (4, 0.1), (5, 0.08)])
@given(bottom=st.floats(0.7, 1.25))
def test_more_effort_comes_closer_to_the_best_threshold(effort, tolerance, bottom):
    search = begin(1.0, 10.0, 64, effort)
    drive(search, valley(bottom, 64))
    assert search.decision().threshold == pytest.approx(bottom, rel=tolerance)


@every_effort
def test_an_improvement_in_every_image_is_accepted(effort):
    search = begin(1.0, 10.0, 64, effort)
    drive(search, valley(0.85, 64))
    decision = search.decision()
    assert decision.accepted
    assert decision.reason == "significant"
    assert decision.after < decision.before
    assert decision.insignificant == ()


@every_effort
def test_an_improvement_of_one_image_among_many_is_not(effort):
    search = begin(1.0, 10.0, 12, effort)
    one = np.eye(12)[0]
    drive(search, lambda threshold: 5.0 - one * abs(threshold - 1.0))
    decision = search.decision()
    assert decision.threshold == 1.0
    assert decision.after == decision.before
    assert not decision.accepted
    assert decision.reason.startswith("insignificant: ")
    assert decision.insignificant
    for rejected in decision.insignificant:
        assert rejected.gain > 0
        assert rejected.reason == "one image carries the gain" or "needs below" in rejected.reason


def test_a_significant_candidate_is_taken_when_a_better_mean_is_not_significant():
    """0.5 has the lowest mean from one image; all images gain a little at 0.757..."""
    gain = np.linspace(0.9, 1.1, 12)
    jackpot = 500 * np.eye(12)[0]

    def score(threshold):
        if threshold == 0.5:
            return 100.0 - jackpot
        return 100.0 - gain * (0.7 < threshold < 0.8)

    search = begin(1.0, 10.0, 12, effort=5)
    drive(search, score)
    decision = search.decision()
    assert 0.7 < decision.threshold < 0.8
    assert decision.accepted
    assert decision.insignificant[0].threshold == 0.5


@every_effort
def test_when_nothing_is_better_the_start_stays(effort):
    search = begin(1.0, 10.0, 64, effort)
    drive(search, valley(1.0, 64))
    decision = search.decision()
    assert (decision.threshold, decision.accepted, decision.reason) == (1.0, False, "no better")


@every_effort
def test_equal_scores_keep_the_start(effort):
    search = begin(1.0, 10.0, 8, effort)
    drive(search, lambda _: constant(1.0, images=8))
    assert search.decision().threshold == 1.0


@every_effort
def test_one_image_alone_never_changes_a_threshold(effort):
    search = begin(1.0, 10.0, 1, effort)
    drive(search, valley(0.85, images=1))
    assert not search.decision().accepted


@every_effort
def test_a_start_above_absmax_is_searched_from_absmax(effort):
    search = begin(50.0, 4.0, 4, effort)
    assert max(search.ask()) == 4.0
    drive(search, lambda _: constant(1.0, images=4))
    assert search.decision().threshold == 4.0


@every_effort
def test_candidates_that_hardly_differ_are_scored_once(effort):
    first = begin(1.0, 1.001, effort=effort).ask()
    assert [threshold for threshold in first if threshold > 0.95] == [1.0]


@every_effort
def test_a_tensor_that_is_always_zero_keeps_its_threshold_and_costs_nothing(effort):
    search = begin(1.0, 0.0, 64, effort)
    decision = search.decision()
    assert search.ask() == ()
    assert (decision.threshold, decision.scored, decision.reason) == (1.0, 0, "always zero")


@every_effort
def test_a_start_without_a_finite_score_is_replaced(effort):
    search = begin(1.0, 10.0, 16, effort)
    drive(search, lambda threshold: constant(np.inf if threshold == 1.0 else threshold, images=16))
    assert search.decision().accepted


@every_effort
@pytest.mark.parametrize("images", [20, 64])
def test_pure_noise_changes_a_threshold_no_more_often_than_the_confidence_allows(effort, images):
    changed = 0
    seeds = 400
    for seed in range(seeds):
        rng = np.random.default_rng(seed)
        difficulty = rng.lognormal(size=images)
        known = {}
        search = begin(1.0, 10.0, images, effort)

        def score(threshold, rng=rng, difficulty=difficulty, known=known):
            return known.setdefault(threshold, difficulty + rng.normal(size=len(difficulty)))

        drive(search, score)
        changed += search.decision().accepted
    chance = 1 - CONFIDENCE
    three_deviations = 3 * np.sqrt(chance * CONFIDENCE / seeds)
    assert 0 < changed / seeds <= chance + three_deviations
