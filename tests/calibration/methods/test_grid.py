import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from distq.calibration.methods.grid import GridError


@given(
    st.lists(st.floats(-10, 10), min_size=1, max_size=50, unique=True),
    st.floats(0.01, 1),
    st.integers(0, 255),
    st.integers(0, 2**32),
)
def test_the_error_is_that_of_rounding_every_value(values, scale, zero_point, seed):
    values = np.sort(np.array(values))
    counts = np.random.default_rng(seed).integers(1, 1000, values.size)
    steps = np.clip(np.rint(values / scale), -zero_point, 255 - zero_point)
    expected = np.sum(counts * (values - scale * steps) ** 2)
    error = GridError.of(values, counts)
    actual = error.squared_error(np.array([scale]), np.array([zero_point]), 255)
    np.testing.assert_allclose(actual, [expected], rtol=1e-6, atol=1e-9 * max(error.energy, 1e-9))
