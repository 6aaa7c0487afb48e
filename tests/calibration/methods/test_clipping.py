import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from distq.calibration.histogram import Distribution
from distq.calibration.methods import METHODS, threshold
from distq.calibration.methods.clipping import MOST_CLIPPING, MOST_ENERGY, least_threshold
from distq.calibration.methods.levels import magnitude_levels
from distq.calibration.ranges import tensor_range
from distq.quant.scheme import encode

DIVERGENCES = ["kl", "symkl", "jsd"]
PARTS = {
    "spike": lambda _, n: np.full(n, 1.0),
    "spike below zero": lambda _, n: np.full(n, -1.0),
    "zeros": lambda _, n: np.zeros(n),
    "normal": lambda rng, n: rng.standard_normal(n),
    "half-normal": lambda rng, n: np.abs(rng.standard_normal(n)),
    "exponential": lambda rng, n: rng.exponential(size=n),
    "uniform": lambda rng, n: rng.uniform(size=n),
}


@st.composite
def mixtures(draw):
    """One to three parts of very different width and number, at times cut off at a lower end."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    parts = draw(
        st.lists(
            st.tuples(st.sampled_from(sorted(PARTS)), st.floats(0, 4), st.floats(-2, 1.5)),
            min_size=1,
            max_size=3,
        )
    )
    values = np.concatenate([PARTS[kind](rng, int(10**number)) * 10**width for kind, number, width in parts])
    lowest = draw(st.none() | st.floats(-2, 1))
    return values if lowest is None else np.maximum(values, -(10**lowest))


def squared_error(values, limit):
    """Mean squared error of the uint8 quantizer of a threshold."""
    encoding = encode(*tensor_range(Distribution.of(values), limit), 8, symmetric=False)
    integers = np.clip(np.rint(values / encoding.scale) + encoding.zero_point, 0, 255)
    return np.mean((values - encoding.scale * (integers - encoding.zero_point)) ** 2)


@pytest.mark.parametrize("method", METHODS)
@settings(max_examples=40, deadline=None)
@given(values=mixtures())
def test_no_method_loses_over_25_db_against_the_maximum(method, values):
    distribution = Distribution.of(values)
    if not distribution.absmax:
        return
    step = distribution.absmax / magnitude_levels(distribution, None)
    rounding = step**2 / 12 * np.count_nonzero(values) / values.size  # spikes may be exact by chance
    of_maximum = max(squared_error(values, distribution.absmax), rounding)
    assert squared_error(values, threshold(distribution, method)) <= 10**2.5 * of_maximum


@pytest.mark.parametrize("method", DIVERGENCES)
@pytest.mark.parametrize("share", [0.1, 0.48, 0.6, 0.9])
@pytest.mark.parametrize("end", [255, 300.5, 511, 1023.4])
def test_what_lies_above_a_spike_at_the_least_value_is_not_clipped(method, share, end):
    spread = np.random.default_rng(0).uniform(end / 2047, 1, 20_000)
    spike = np.full(int(20_000 * share / (1 - share)), end / 2047)
    for values in (np.append(spike, spread), np.append(-spike, spread)):
        assert threshold(Distribution.of(np.append(values, 1.0)), method) > 0.9


@pytest.mark.parametrize("method", METHODS)
def test_a_constant_with_few_large_values_keeps_most_of_the_energy(method):
    for number in (3, 100):
        values = np.append(np.full(10_000, 1.0), np.linspace(90, 100, number))
        assert squared_error(values, threshold(Distribution.of(values), method)) < 0.7 * np.mean(values**2)


@pytest.mark.parametrize("method", DIVERGENCES)
def test_spikes_below_the_largest_values_do_not_lower_the_threshold(method):
    rng = np.random.default_rng(0)
    smooth = rng.standard_normal(100_000)
    spikes = np.repeat([-0.5, 0.25, 0.3, -0.7, 1.1, 0.05], 20_000)
    with_spikes = Distribution.of(np.append(smooth, spikes))
    assert threshold(with_spikes, method) >= threshold(Distribution.of(smooth), method)


@pytest.mark.parametrize("levels", [None, 128, 8])
def test_the_least_threshold_is_where_clipping_costs_what_it_may(levels):
    values = np.random.default_rng(0).exponential(size=50_000)
    distribution = Distribution.of(np.append(values, np.zeros(50_000)))
    found = least_threshold(distribution, levels)
    rounding = (values.max() / (levels or 256)) ** 2 / 12 * values.size
    allowed = min(MOST_CLIPPING * rounding, MOST_ENERGY * np.sum(values**2))

    def clipping(limit):
        return np.sum(np.maximum(values - limit, 0) ** 2)

    assert clipping(found * 1.001) <= allowed <= clipping(found * 0.999)


def test_one_magnitude_is_not_clipped_and_a_far_value_loses_part_of_its_energy_at_most():
    one = Distribution.of(np.array([3.0, -3.0, 0.0]))
    assert least_threshold(one, 8) == pytest.approx(3.0, rel=1e-3)
    far = Distribution.of(np.append(np.full(100, 1e-4), 1.0))
    assert least_threshold(far, 8) >= 1 - math.sqrt(MOST_ENERGY)
