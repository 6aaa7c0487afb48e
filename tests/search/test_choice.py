import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from search_helpers import rough_curve

from distq.search.choice import choose


def scores(**named):
    """Diffs of 12 images by threshold: the start is 1.0."""
    spread = np.linspace(0.9, 1.1, 12)
    return {float(name[1:]) / 10: value * spread for name, value in named.items()}


def test_the_lowest_mean_is_taken_when_it_is_significant():
    found = choose(1.0, scores(t10=5, t8=4, t9=3), 2, 0.95, scored=3, dropped=1)
    assert (found.threshold, found.accepted, found.reason) == (0.9, True, "significant")
    assert (found.before, found.after) == (pytest.approx(5), pytest.approx(3))
    assert (found.scored, found.dropped, found.insignificant) == (3, 1, ())


def test_what_is_better_by_chance_is_left_out_and_said_with_its_gain():
    known = scores(t10=5)
    known[0.8] = known[1.0] - 12 * np.eye(12)[3]
    known[0.9] = known[1.0] - 6 * np.eye(12)[5]
    found = choose(1.0, known, 2, 0.95, scored=3)
    assert (found.threshold, found.accepted) == (1.0, False)
    assert found.reason.startswith("insignificant: t ")
    assert [rejected.threshold for rejected in found.insignificant] == [0.8, 0.9]
    assert [rejected.gain for rejected in found.insignificant] == pytest.approx([1.0, 0.5])
    assert all(rejected.t < 0 for rejected in found.insignificant)
    assert found.reason == f"insignificant: {found.insignificant[0].reason}"


@given(seed=st.integers(0, 10_000), levels=st.integers(1, 20), images=st.integers(1, 20))
def test_every_candidate_better_on_the_mean_is_taken_or_named_unless_a_better_one_is_taken(
    seed, levels, images
):
    curve = rough_curve(seed, levels, images)
    known = {t: curve(t) for t in (1.0, 0.5, 0.7, 0.9, 1.3)}
    found = choose(1.0, known, 4, 0.95, scored=5)
    rejected = {candidate.threshold for candidate in found.insignificant}
    means = {t: known[t].mean() for t in known}
    assert found.threshold not in rejected
    assert found.after <= found.before
    for threshold, mean in means.items():
        if mean < means[1.0] - 1e-9 and threshold != found.threshold:
            assert threshold in rejected or means[found.threshold] <= mean + 1e-9
