import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from distq.calibration.histogram import Distribution
from distq.calibration.methods import METHODS, threshold
from distq.calibration.ranges import SMALLEST_THRESHOLD
from distq.config import MethodName
from distq.errors import UsageError

BINS = 512
MODERATE = st.floats(2.0**-20, 2.0**20, width=32)
SIGNED = MODERATE | MODERATE.map(lambda x: -x) | st.just(0.0)
TENSORS = hnp.arrays(np.float32, st.integers(1, 40), elements=SIGNED) | hnp.arrays(
    np.float32, st.integers(1, 40), elements=MODERATE | st.just(0.0)
)


def test_the_options_offer_exactly_the_methods_there_are():
    assert {*METHODS, "auto"} == set(MethodName.__args__)


@pytest.mark.parametrize("method", METHODS)
@settings(max_examples=25, deadline=None)
@given(values=hnp.arrays(np.float32, st.integers(0, 40), elements=st.floats(width=32)))
def test_every_threshold_is_positive_finite_and_not_beyond_the_maximum(method, values):
    distribution = Distribution.of(values)
    found = threshold(distribution, method, BINS)
    assert np.isfinite(found)
    assert found >= SMALLEST_THRESHOLD
    if distribution.absmax:
        assert found <= max(distribution.absmax * BINS / (BINS - 1) * (1 + 1e-12), SMALLEST_THRESHOLD)


@pytest.mark.parametrize("method", METHODS)
@settings(max_examples=25, deadline=None)
@given(values=TENSORS, exponent=st.integers(-30, 30))
def test_a_tensor_scaled_by_a_power_of_two_has_the_threshold_scaled_exactly(method, values, exponent):
    found = threshold(Distribution.of(values), method, BINS)
    scaled = threshold(Distribution.of(values * np.float32(2.0**exponent)), method, BINS)
    assert scaled == found * (2.0**exponent if values.any() else 1.0)


@pytest.mark.parametrize("method", METHODS)
def test_scaling_is_exact_for_large_tensors_too(method):
    values = np.random.default_rng(0).laplace(size=50_000).astype(np.float32)
    for tensor in (values, np.abs(values)):
        found = threshold(Distribution.of(tensor), method)
        assert threshold(Distribution.of(tensor * np.float32(2.0**-9)), method) == found * 2.0**-9


@pytest.mark.parametrize("method", METHODS)
def test_the_sign_of_a_tensor_does_not_matter_to_symmetric_levels(method):
    values = np.random.default_rng(0).laplace(size=20_000) - 0.25
    found = threshold(Distribution.of(values), method, levels=128)
    assert threshold(Distribution.of(-values), method, levels=128) == pytest.approx(found, rel=1e-12)


@pytest.mark.parametrize("method", METHODS)
def test_a_tensor_of_zeros_has_threshold_one(method):
    for values in ([0.0], [0.0, -0.0], [np.nan, 0.0], []):
        assert threshold(Distribution.of(np.array(values)), method) == 1.0


@pytest.mark.parametrize("method", METHODS)
def test_denormal_values_get_a_threshold_a_scale_can_be_made_of(method):
    assert threshold(Distribution.of(np.array([1e-45, -3e-42])), method) == SMALLEST_THRESHOLD


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("value", [1.0, -7.3, 3.3e38, -1e-20])
def test_a_tensor_of_one_value_is_not_clipped(method, value):
    distribution = Distribution.of(np.array([value]))
    assert threshold(distribution, method) == pytest.approx(distribution.absmax, rel=1e-3)


@pytest.mark.parametrize("method", METHODS)
def test_infinite_values_do_not_reach_a_threshold(method):
    values = np.random.default_rng(0).standard_normal(1000)
    sick = np.append(values, [np.inf, -np.inf, np.nan])
    assert threshold(Distribution.of(sick), method) == threshold(Distribution.of(values), method)


def test_an_unknown_method_is_answered_with_those_there_are():
    with pytest.raises(UsageError, match=r"entropy.*kl"):
        threshold(Distribution.empty(), "entropy")


def test_a_distribution_that_has_grown_has_another_threshold():
    grown = Distribution.of(np.linspace(0, 1, 100, dtype=np.float32))
    assert threshold(grown, "max") == threshold(grown, "max") == 1
    grown.add(Distribution.of(np.array([3.0], np.float32)))
    assert threshold(grown, "max") == 3
    assert threshold(grown, "mse", levels=4) != threshold(grown, "mse", levels=128)
