import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from distq.calibration.histogram import Distribution
from distq.calibration.methods import threshold
from distq.calibration.ranges import SMALLEST_THRESHOLD, tensor_range


@pytest.mark.parametrize(
    ("values", "limit", "expected"),
    [
        ([0.0, 5.0], 3.0, (0.0, 3.0)),
        ([0.0, 5.0], 5.1, (0.0, 5.0)),
        ([2.0, 5.0], 4.0, (0.0, 4.0)),
        ([-0.25, 8.0], 6.0, (-0.25, 6.0)),
        ([-8.0, 8.0], 6.0, (-6.0, 6.0)),
        ([-8.0, -2.0], 6.0, (-6.0, 0.0)),
        ([0.0], 1.0, (0.0, 1.0)),
    ],
)
def test_one_threshold_cuts_both_ends_and_keeps_zero_inside(values, limit, expected):
    assert tensor_range(Distribution.of(np.array(values)), limit) == expected


@given(hnp.arrays(np.float32, st.integers(0, 20), elements=st.floats(width=32, allow_nan=False)))
def test_every_tensor_gets_a_range_that_a_scale_can_be_made_of(values):
    distribution = Distribution.of(values)
    low, high = tensor_range(distribution, threshold(distribution, "max"))
    assert low <= 0 <= high
    assert high - low >= SMALLEST_THRESHOLD
    assert np.float32((high - low) / 65535) >= np.finfo(np.float32).smallest_normal
