import numpy as np
import pytest

from distq.calibration.histogram import Distribution
from distq.calibration.methods import threshold


@pytest.mark.parametrize("count", [1, 2, 777, 20_000, 2_000_000])
def test_it_is_the_9999th_percentile_of_magnitudes(count):
    values = np.random.default_rng(0).standard_normal(count).astype(np.float32)
    expected = np.percentile(np.abs(values).astype(np.float64), 99.99)
    assert threshold(Distribution.of(values), "percentile") == pytest.approx(expected, rel=1e-6)


def test_below_the_tail_it_is_known_to_its_bucket():
    values = np.append(np.full(500_000, 8.0), np.random.default_rng(0).uniform(0, 8, 500_000))
    assert threshold(Distribution.of(values), "percentile") == pytest.approx(8.0, rel=2**-11)


def test_zeros_count():
    values = np.append(np.random.default_rng(0).exponential(size=20_000), np.zeros(500_000))
    expected = np.percentile(values, 99.99)
    assert threshold(Distribution.of(values), "percentile") == pytest.approx(expected, rel=1e-6)


def test_a_tensor_that_is_nearly_always_zero_is_not_clipped_to_nothing():
    values = np.append(np.zeros(100_000), [1.0, 3.0])
    assert threshold(Distribution.of(values), "percentile") == 3.0
