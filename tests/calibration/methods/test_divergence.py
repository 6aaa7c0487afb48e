import math

import numpy as np
import pytest

from distq.calibration.histogram import Distribution
from distq.calibration.methods.divergence import candidate_divergence, chance, without_spikes
from distq.calibration.methods.jsd import jensen_shannon_divergence
from distq.calibration.methods.kl import kl_divergence
from distq.calibration.methods.symkl import symmetric_divergence

ALL = [kl_divergence, symmetric_divergence, jensen_shannon_divergence]


def test_p_takes_the_outliers_and_q_spreads_over_occupied_bins():
    seen = {}

    def look(p, q):
        seen["p"], seen["q"] = p, q
        return 0.0

    candidate_divergence(np.array([3.0, 1.0, 0.0, 2.0, 4.0, 0.0]), 4, 2, look)
    np.testing.assert_allclose(seen["p"], [0.3, 0.1, 0.6])
    np.testing.assert_allclose(seen["q"], [2 / 6, 2 / 6, 2 / 6])


@pytest.mark.parametrize("divergence", ALL)
def test_keeping_nothing_is_never_chosen(divergence):
    assert candidate_divergence(np.array([0.0, 0.0, 0.0, 5.0]), 2, 2, divergence) == math.inf


@pytest.mark.parametrize("divergence", ALL)
def test_clipping_onto_a_bin_that_holds_most_of_what_is_kept_is_never_chosen(divergence):
    assert candidate_divergence(np.array([1.0, 0.0, 2.0, 9.0, 5.0, 5.0]), 4, 4, divergence) == math.inf
    assert candidate_divergence(np.array([1.0, 0.0, 2.0, 9.0, 0.0, 0.0]), 4, 4, divergence) < 1e-9
    assert candidate_divergence(np.array([4.0, 3.0, 2.0, 8.0, 5.0, 5.0]), 4, 4, divergence) < math.inf


def test_values_that_are_many_times_the_same_leave_the_bins_they_lie_in():
    smooth = np.random.default_rng(0).uniform(size=10_000)
    edges = np.linspace(0, 1, 101)
    for place in (0.1234, 0.37, 0.37 * (1 + 1e-5)):  # 0.37 is an edge
        distribution = Distribution.of(np.append(smooth, np.full(1000, place)))
        histogram, end = without_spikes(distribution, edges)
        assert end == math.ceil(place * 100 - 1e-6) or end == math.ceil(place * 100 - 1e-6) + 1
        assert histogram[end - 1] == 0
        assert np.count_nonzero(histogram == 0) <= 2
        assert np.all(histogram <= 150)
    histogram, end = without_spikes(Distribution.of(np.append(smooth, np.full(500, 0.37))), edges)
    assert end == 0
    assert histogram.min() > 0
    assert not without_spikes(Distribution.of(np.full(3, 0.5)), edges)[0].any()


@pytest.mark.parametrize("divergence", ALL)
def test_equal_distributions_do_not_diverge_and_others_do(divergence):
    p = np.array([0.5, 0.25, 0.25, 0.0])
    q = np.array([0.25, 0.25, 0.5, 0.0])
    assert divergence(p, p) == pytest.approx(0, abs=1e-15)
    assert divergence(p, q) > 0


def test_values_by_hand():
    p, q = np.array([0.75, 0.25]), np.array([0.5, 0.5])
    forward = 0.75 * math.log10(1.5) + 0.25 * math.log10(0.5)
    backward = 0.5 * math.log10(0.5 / 0.75) + 0.5 * math.log10(2)
    assert kl_divergence(p, q) == pytest.approx(forward)
    assert symmetric_divergence(p, q) == pytest.approx(forward + backward)
    middle = 0.5 * (0.75 * math.log10(0.75 / 0.625) + 0.25 * math.log10(0.25 / 0.375))
    middle += 0.5 * (0.5 * math.log10(0.5 / 0.625) + 0.5 * math.log10(0.5 / 0.375))
    assert jensen_shannon_divergence(p, q) == pytest.approx(middle)


def test_clipping_onto_an_empty_bin_is_forbidden_by_kl_and_symkl_but_bounded_for_jsd():
    p, q = np.array([0.9, 0.1]), np.array([1.0, 0.0])
    assert kl_divergence(p, q) > 2.8
    assert symmetric_divergence(p, q) > 2.8
    apart = jensen_shannon_divergence(np.array([1.0, 0.0]), np.array([0.0, 1.0]))
    assert apart == pytest.approx(math.log10(2))


@pytest.mark.parametrize("kept", [512, 1024, 2048])
@pytest.mark.parametrize(
    ("divergence", "curvature"),
    [(kl_divergence, 1), (symmetric_divergence, 2), (jensen_shannon_divergence, 1 / 4)],
)
def test_what_chance_adds_when_one_value_in_37_is_counted_is_taken_off(divergence, curvature, kept):
    rng = np.random.default_rng(0)
    every = rng.poisson(1e5 * np.exp(-2 * (np.arange(kept) / kept) ** 2)).astype(float)
    part = 37.0 * rng.binomial(every.astype(int), 1 / 37)
    of_all, of_part = (candidate_divergence(h, kept, 128, divergence) for h in (every, part))
    scale = curvature * 36 / (2 * math.log(10) * part.sum())
    assert of_part - scale * chance(part[:kept] > 0, 128) == pytest.approx(
        of_all, abs=0.15 * (of_part - of_all)
    )
