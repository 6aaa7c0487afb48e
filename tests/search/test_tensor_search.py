import random

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from search_helpers import constant, distinct, drive, drive_in_pieces, drive_with_all_images, rough_curve

from distq.errors import ExecutionError, InputError
from distq.search.strategy import STRATEGIES

every_strategy = pytest.mark.parametrize(
    ("name", "effort"),
    [
        ("bitmain", 3),
        ("tpu-mlir", 3),
        ("grid", 2),
        ("default", 2),
        ("default", 3),
        ("default", 4),
        ("default", 5),
    ],
)


def begin(name, effort=3, threshold=2.0, absmax=3.0, images=None):
    return STRATEGIES[name](effort).search(threshold, absmax, images)


def test_every_strategy_of_the_registry_is_tested_here():
    assert set(STRATEGIES) == {name for name, _ in every_strategy.args[1]}


@every_strategy
def test_the_registry_knows_a_strategy_by_its_own_name(name, effort):
    assert STRATEGIES[name](effort).name == name


@every_strategy
@given(seed=st.integers(0, 10_000), levels=st.integers(1, 30), images=st.integers(1, 20))
def test_decision_and_log_do_not_depend_on_how_scores_arrive(name, effort, seed, levels, images):
    score = rough_curve(seed, levels, images)
    whole, pieces, generous, replayed = (begin(name, effort, images=images) for _ in range(4))
    asked = drive(whole, score)
    drive_in_pieces(pieces, score, random.Random(seed))  # noqa: S311  # no secret
    drive_with_all_images(generous, score)
    replayed.tell({threshold: score(threshold) for threshold in sorted(distinct(asked))})
    for other in (pieces, generous, replayed):
        assert other.decision() == whole.decision()
        assert other.log() == whole.log()


@pytest.mark.parametrize("effort", [2, 3, 4, 5])
@given(seed=st.integers(0, 10_000), images=st.integers(4, 20))
def test_scores_of_images_beyond_those_it_was_given_do_not_matter(effort, seed, images):
    """A search over some images decides the same when it is told scores of more."""
    score, beyond = rough_curve(seed, 9, images), rough_curve(seed + 1, 9, images=5)
    exact, more = begin("default", effort, images=images), begin("default", effort, images=images)
    drive(exact, score)
    drive_with_all_images(more, lambda threshold: np.concatenate([score(threshold), beyond(threshold)]))
    assert more.decision() == exact.decision()
    assert more.log() == exact.log()


@every_strategy
@given(seed=st.integers(0, 10_000), images=st.one_of(st.none(), st.integers(1, 40)))
def test_a_threshold_is_asked_for_again_only_on_more_images(name, effort, seed, images):
    asked = drive(begin(name, effort, images=images), rough_curve(seed, 5, images or 6))
    counts = {}
    for threshold, wanted in asked:
        counts.setdefault(threshold, []).append(wanted or images or 6)
    assert all(sorted(set(wanted)) == wanted for wanted in counts.values())


@every_strategy
def test_asking_twice_gives_the_same_until_scores_come(name, effort):
    search = begin(name, effort)
    first = search.ask()
    assert first
    assert search.ask() == first
    search.tell({first[-1]: constant(1.0)})
    assert search.ask() == first[:-1]


@every_strategy
@given(seed=st.integers(0, 10_000))
def test_the_log_pairs_start_and_end_of_one_candidate_after_another(name, effort, seed):
    search = begin(name, effort, images=24)
    score = rough_curve(seed, 8, images=24)
    drive(search, score)
    first, *middle, last = search.log()
    assert (first.event, first.threshold) == ("original", 2.0)
    assert (last.event, last.threshold) == ("done", search.decision().threshold)
    assert {entry.event for entry in middle[::2]} == {"start"}
    assert {entry.event for entry in middle[1::2]} == {"end"}
    for start, end in zip(middle[::2], middle[1::2], strict=True):
        assert (start.number, start.threshold) == (end.number, end.threshold)
        means = [score(end.threshold)[:images].mean() for images in range(1, 25)]
        assert min(abs(mean - end.diff) for mean in means) < 1e-12


@every_strategy
@given(seed=st.integers(0, 10_000))
def test_before_and_after_are_means_over_all_images(name, effort, seed):
    """Else the diffs of two tensors could not be compared."""
    search = begin(name, effort, images=24)
    score = rough_curve(seed, 8, images=24)
    drive(search, score)
    decision = search.decision()
    assert decision.before == pytest.approx(score(2.0).mean())
    assert decision.after == pytest.approx(score(decision.threshold).mean())


@every_strategy
def test_a_search_that_still_waits_has_no_decision(name, effort):
    with pytest.raises(ExecutionError, match="not decided: score"):
        begin(name, effort).decision()


@every_strategy
def test_scores_told_again_do_not_change_anything(name, effort):
    once, twice = begin(name, effort), begin(name, effort)
    first = once.ask()
    for search in (once, twice):
        search.tell({first[0]: constant(1.0)})
    twice.tell({first[0]: constant(99.0)})
    drive(once, rough_curve(1, 20))
    drive(twice, rough_curve(1, 20))
    assert once.decision() == twice.decision()


@every_strategy
def test_the_caller_may_reuse_the_array_it_told(name, effort):
    search = begin(name, effort)
    buffer = np.zeros(2)
    while pending := search.ask():
        for threshold in pending:
            buffer[:] = abs(threshold - 1.7)
            search.tell({threshold: buffer})
    assert search.decision().before == pytest.approx(0.3)


@every_strategy
@pytest.mark.parametrize("wrong", [np.zeros(0), np.zeros((2, 1)), np.zeros((2, 2)), np.zeros(3)])
def test_scores_must_be_one_number_per_image_of_the_same_images(name, effort, wrong):
    search = begin(name, effort)
    first, second = search.ask()[:2]
    search.tell({first: np.zeros(2)})
    with pytest.raises(ExecutionError, match=rf"threshold {second} have shape .*\(2,\)"):
        search.tell({second: wrong})


def test_scores_of_fewer_images_than_asked_for_are_refused():
    search = begin("default", images=64)
    with pytest.raises(ExecutionError, match=r"have shape \(7,\): score the images asked for, here \(8,\)"):
        search.tell({search.ask()[0]: np.zeros(7)})


@every_strategy
@pytest.mark.parametrize("threshold", [0.0, -1.0, float("nan"), float("inf")])
def test_a_start_that_is_no_threshold_is_refused(name, effort, threshold):
    with pytest.raises(InputError, match="finite and above 0"):
        begin(name, effort, threshold=threshold)


@every_strategy
@pytest.mark.parametrize("absmax", [-1.0, float("nan"), float("inf")])
def test_an_absmax_that_is_not_finite_is_refused(name, effort, absmax):
    with pytest.raises(InputError, match="finite data"):
        begin(name, effort, absmax=absmax)


@every_strategy
@pytest.mark.parametrize("images", [None, 16])
@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_when_no_candidate_scores_a_number_the_start_stays(name, effort, images, bad):
    search = begin(name, effort, images=images)
    drive(search, lambda _: np.array([1.0, bad] * 8))
    decision = search.decision()
    assert (decision.threshold, decision.accepted) == (2.0, False)
    assert decision.before == decision.after == float("inf")


@every_strategy
@pytest.mark.parametrize("images", [None, 16])
@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_a_candidate_without_a_finite_score_is_never_chosen(name, effort, images, bad):
    """Also when the first images score well, and only a late one shows it."""
    search = begin(name, effort, images=images)
    late = np.append(np.zeros(15), bad)
    drive(search, lambda threshold: constant(1.0, images=16) if threshold == 2.0 else late)
    assert search.decision().threshold == 2.0
