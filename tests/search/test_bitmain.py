import random

import pytest
from hypothesis import given
from hypothesis import strategies as st
from search_helpers import constant, distinct, drive, drive_in_pieces, rough_curve
from serial_rule import serial_rule

from distq.search.bitmain import BitmainStrategy

CONV1 = 604.455322265625
CONV1_CANDIDATES = ["604.455322266", "610.499875488", "616.604874243", "622.770922986", "628.998632215"]
CONV1_DIFFS = [2.29690933088e-06, 3.25081530369e-06, 4.55710222508e-06, 4.03511745329e-06]
FC1000 = 17.227313995361328
FC1000_DOWN = {
    "17.2273139954": 0.0293187294155,
    "17.0550408554": 0.0296246372163,
    "16.8844904469": 0.0300562102348,
    "16.7156455424": 0.0303294863552,
}
FC1000_UP = {"17.3995871353": 0.0288527630498}
FC1000_UP_REST = [0.0290, 0.0291, 0.0292]  # constructed: the published log does not show the first sweep


def twelve(value):
    return f"{value:.12g}"


def begin(threshold, absmax=1000.0):
    return BitmainStrategy().search(threshold, absmax)


def plain_rule_stops_after(diffs):
    """How many candidates '3 in a row that are not the best' would score of a sweep."""
    best, row = float("inf"), 0
    for count, diff in enumerate(diffs, start=1):
        best, row = (diff, 0) if diff < best else (best, row + 1)
        if row == 3:
            return count
    return None


def test_conv1_of_the_published_log_is_still_running_at_its_fifth_candidate():
    search = begin(CONV1)
    first = search.ask()
    assert [twelve(threshold) for threshold in first[:4]] == CONV1_CANDIDATES[:4]
    search.tell({threshold: constant(diff) for threshold, diff in zip(first[:4], CONV1_DIFFS, strict=True)})
    assert plain_rule_stops_after(CONV1_DIFFS) == 4
    last = search.log()[-1]
    assert last.line("conv1") == "start tuning: 5, layer: conv1, tuning threshold: 628.998632215"
    assert twelve(search.ask()[0]) == CONV1_CANDIDATES[4]


def test_conv1_has_two_failures_after_four_candidates():
    search = begin(CONV1)
    first = search.ask()
    search.tell({threshold: constant(diff) for threshold, diff in zip(first[:4], CONV1_DIFFS, strict=True)})
    search.tell({search.ask()[0]: constant(CONV1_DIFFS[3])})  # no better than the one before: the third
    assert all(threshold < CONV1 for threshold in search.ask())


def fc1000_score(threshold):
    known = {**FC1000_DOWN, **FC1000_UP}
    rest = dict(zip((twelve(FC1000 * 1.01**k) for k in (2, 3, 4)), FC1000_UP_REST, strict=True))
    return constant({**known, **rest}[twelve(threshold)])


def test_fc1000_goes_five_up_and_four_down_and_keeps_the_published_best():
    search = begin(FC1000)
    asked = drive(search, fc1000_score)
    decision = search.decision()
    assert twelve(decision.threshold) == "17.3995871353"
    assert decision.after == pytest.approx(0.0288527630498, rel=1e-12)
    assert decision.before == pytest.approx(0.0293187294155, rel=1e-12)
    assert decision.accepted
    assert (decision.scored, len(asked)) == (
        9,
        8,
    )  # the start counts in both sweeps, the network sees it once


def test_fc1000_prints_the_published_log_of_its_second_sweep():
    search = begin(FC1000)
    drive(search, fc1000_score)
    lines = [entry.line("fc1000") for entry in search.log()]
    assert lines[0] == "ori_thres=17.2273139954, ori_diff=1.79769313486e+308"
    expected = []
    for number, (threshold, diff) in enumerate(FC1000_DOWN.items(), start=1):
        expected.append(f"start tuning: {number}, layer: fc1000, tuning threshold: {threshold}")
        expected.append(f"end tuning: {number}, layer: fc1000, tuning diff: {diff}")
    expected.append(
        "tuning end, layer: fc1000,  best diff with tune: 0.0288527630498/1.79769313486e+308, "
        "threshold: 17.3995871353/17.2273139954"
    )
    assert lines[-9:] == expected


@given(
    threshold=st.floats(1e-3, 1e3),
    seed=st.integers(0, 10_000),
    levels=st.integers(0, 40),
    slope=st.floats(-3, 3),
)
def test_same_candidates_count_and_result_as_the_serial_loop(threshold, seed, levels, slope):
    rough = rough_curve(seed, levels)
    measured = set()

    def score(candidate):
        diff = float(rough(candidate)[0]) + abs(candidate / threshold - 1.03) * slope
        return max(-1.0, diff)  # a curve that falls for ever has no end under this rule

    def serial_score(candidate):
        measured.add(candidate)
        return score(candidate)

    best, best_diff, scored = serial_rule(threshold, serial_score)
    whole, pieces = begin(threshold), begin(threshold)
    asked = drive(whole, lambda candidate: constant(score(candidate)))
    drive_in_pieces(pieces, lambda candidate: constant(score(candidate)), random.Random(seed))  # noqa: S311  # no secret
    for decision in (whole.decision(), pieces.decision()):
        assert (decision.threshold, decision.after, decision.scored) == (best, best_diff, scored)
    assert sorted(distinct(asked)) == sorted(measured)


def test_any_smaller_diff_is_accepted_however_little():
    search = begin(1.0)
    drive(search, lambda threshold: constant(1.0 - 1e-15 * (threshold == 1.01), images=2))
    assert search.decision().threshold == 1.01


def test_the_diff_is_the_mean_over_images():
    search = begin(1.0)
    drive(search, lambda threshold: [0.0, 3.0] if threshold == 0.99 else [2.0, 2.0])
    decision = search.decision()
    assert (decision.threshold, decision.before, decision.after) == (0.99, 2.0, 1.5)


def test_a_flat_curve_costs_four_up_four_down_and_changes_nothing():
    search = begin(1.0)
    asked = drive(search, lambda _: constant(1.0))
    decision = search.decision()
    assert (decision.scored, len(asked)) == (8, 7)
    assert (decision.threshold, decision.accepted, decision.reason) == (1.0, False, "no better")


def test_candidates_may_exceed_absmax():
    search = begin(1.0, absmax=1.0)
    drive(search, lambda threshold: constant(abs(threshold - 1.2)))
    assert search.decision().threshold == pytest.approx(1.2, rel=0.01)


def test_a_start_without_a_finite_diff_is_no_failure_so_nothing_asked_for_is_wasted():
    search = begin(1.0)
    asked = drive(search, lambda _: constant(float("nan")))
    assert (search.decision().scored, len(asked)) == (8, 7)
