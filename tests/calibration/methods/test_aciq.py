import numpy as np
import pytest

from distq.calibration.histogram import Distribution
from distq.calibration.methods import threshold
from distq.calibration.methods.aciq import aciq, gauss_alpha, laplace_alpha

BITS = range(2, 9)
LAPLACE = [2.830683, 3.897229, 5.028640, 6.204766, 7.413126, 8.645620, 9.896760]
GAUSS = [1.710635, 2.151593, 2.559136, 2.936201, 3.286914, 3.615114, 3.924035]


def test_alphas_are_the_published_ones():
    np.testing.assert_allclose([laplace_alpha(bits) for bits in BITS], LAPLACE, atol=1e-6)
    np.testing.assert_allclose([gauss_alpha(bits) for bits in BITS], GAUSS, atol=1e-6)


def test_one_sided_tensors_take_the_alpha_of_one_bit_more():
    rng = np.random.default_rng(0)
    normal = np.append(rng.standard_normal(200_000), [-20.0, 20.0])
    laplace = np.append(rng.laplace(size=200_000), [-60.0, 60.0])
    for values, alpha in ((normal, gauss_alpha), (laplace, laplace_alpha)):
        assert threshold(Distribution.of(values), "aciq") == pytest.approx(alpha(8), rel=0.02)
        rectified = Distribution.of(np.maximum(values, 0))
        assert threshold(rectified, "aciq") == pytest.approx(alpha(9), rel=0.02)
        assert threshold(rectified, "aciq", levels=128) == pytest.approx(alpha(8), rel=0.02)
    assert laplace_alpha(9) == pytest.approx(11.16, abs=0.01)
    assert gauss_alpha(9) == pytest.approx(4.2, abs=0.02)


def test_a_mean_that_is_not_zero_widens_the_range():
    values = np.random.default_rng(0).standard_normal(100_000)
    shifted = Distribution.of(np.append(values - 2, 50.0))
    assert threshold(shifted, "aciq") == pytest.approx(2 + gauss_alpha(8), rel=0.03)


def test_zeros_of_a_signed_tensor_count_as_values():
    values = np.append(np.full(500, 1.0), np.full(500, -1.0))
    sparse = Distribution.of(np.concatenate((values, np.zeros(99_000), [100.0])))
    exact = np.concatenate((values, np.zeros(99_000), [100.0]))
    deviation = np.abs(exact - exact.mean()).mean()
    assert aciq(sparse, 2048, None) == pytest.approx(exact.mean() + laplace_alpha(8) * deviation, rel=1e-3)
