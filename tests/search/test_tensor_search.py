import random

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from search_helpers import constant, drive, drive_in_pieces, rough_curve

from distq.errors import ExecutionError, InputError
from distq.search.strategy import STRATEGIES

every_strategy = pytest.mark.parametrize("name", sorted(STRATEGIES))


def begin(name, threshold=2.0, absmax=3.0):
    return STRATEGIES[name]().search(threshold, absmax)


@every_strategy
def test_the_registry_knows_a_strategy_by_its_own_name(name):
    assert STRATEGIES[name]().name == name


@every_strategy
@given(seed=st.integers(0, 10_000), levels=st.integers(1, 30), images=st.integers(1, 9))
def test_decision_and_log_do_not_depend_on_how_scores_arrive(name, seed, levels, images):
    score = rough_curve(seed, levels, images)
    whole, pieces, replayed = begin(name), begin(name), begin(name)
    asked = drive(whole, score)
    drive_in_pieces(pieces, score, random.Random(seed))  # noqa: S311  # no secret
    replayed.tell({threshold: score(threshold) for threshold in sorted(asked)})
    assert whole.decision() == pieces.decision() == replayed.decision()
    assert whole.log() == pieces.log() == replayed.log()


@every_strategy
@given(seed=st.integers(0, 10_000))
def test_no_threshold_is_asked_for_again_once_told(name, seed):
    asked = drive(begin(name), rough_curve(seed, 5))
    assert len(asked) == len(set(asked))


@every_strategy
def test_asking_twice_gives_the_same_until_scores_come(name):
    search = begin(name)
    first = search.ask()
    assert first
    assert search.ask() == first
    search.tell({first[-1]: constant(1.0)})
    assert search.ask() == first[:-1]


@every_strategy
@given(seed=st.integers(0, 10_000))
def test_the_log_pairs_start_and_end_of_one_candidate_after_another(name, seed):
    search = begin(name)
    score = rough_curve(seed, 8, images=3)
    drive(search, score)
    events = search.log()
    middle = events[1:-1]
    assert (events[0].event, events[-1].event) == ("original", "done")
    assert [entry.event for entry in middle] == ["start", "end"] * search.decision().scored
    for start, end in zip(middle[::2], middle[1::2], strict=True):
        assert (start.number, start.threshold) == (end.number, end.threshold)
        assert end.diff == pytest.approx(score(end.threshold).mean())
    assert events[-1].threshold == search.decision().threshold


@every_strategy
def test_a_search_that_still_waits_has_no_decision(name):
    with pytest.raises(ExecutionError, match="not decided: score"):
        begin(name).decision()


@every_strategy
def test_scores_told_again_do_not_change_anything(name):
    once, twice = begin(name), begin(name)
    first = once.ask()
    for search in (once, twice):
        search.tell({first[0]: constant(1.0)})
    twice.tell({first[0]: constant(99.0)})
    drive(once, rough_curve(1, 20))
    drive(twice, rough_curve(1, 20))
    assert once.decision() == twice.decision()


@every_strategy
def test_the_caller_may_reuse_the_array_it_told(name):
    search = begin(name)
    buffer = np.zeros(2)
    while pending := search.ask():
        for threshold in pending:
            buffer[:] = abs(threshold - 1.7)
            search.tell({threshold: buffer})
    assert search.decision().before == pytest.approx(0.3)


@every_strategy
@pytest.mark.parametrize("wrong", [np.zeros(0), np.zeros((2, 1)), np.zeros(3)])
def test_scores_must_be_one_number_per_image_of_the_same_images(name, wrong):
    search = begin(name)
    first, second = search.ask()[:2]
    search.tell({first: np.zeros(2)})
    with pytest.raises(ExecutionError, match=rf"threshold {second} have shape .*\(2,\)"):
        search.tell({second: wrong})


@every_strategy
@pytest.mark.parametrize("threshold", [0.0, -1.0, float("nan"), float("inf")])
def test_a_start_that_is_no_threshold_is_refused(name, threshold):
    with pytest.raises(InputError, match="finite and above 0"):
        begin(name, threshold=threshold)


@every_strategy
@pytest.mark.parametrize("absmax", [-1.0, float("nan"), float("inf")])
def test_an_absmax_that_is_not_finite_is_refused(name, absmax):
    with pytest.raises(InputError, match="finite data"):
        begin(name, absmax=absmax)


@every_strategy
@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_when_no_candidate_scores_a_number_the_start_stays(name, bad):
    search = begin(name)
    drive(search, lambda _: np.array([1.0, bad]))
    decision = search.decision()
    assert (decision.threshold, decision.accepted) == (2.0, False)
    assert decision.before == decision.after == float("inf")


@every_strategy
@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_a_candidate_without_a_finite_score_is_never_chosen(name, bad):
    search = begin(name)
    drive(search, lambda threshold: constant(1.0 if threshold == 2.0 else bad, images=4))
    assert search.decision().threshold == 2.0
