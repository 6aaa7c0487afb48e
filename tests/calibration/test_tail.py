import numpy as np

from distq.calibration import tail
from distq.calibration.histogram import Distribution


def test_the_tail_holds_the_largest_magnitudes_of_both_signs_exactly():
    values = np.random.default_rng(0).standard_normal(50_000).astype(np.float32)
    kept = Distribution.of(values).tail_magnitudes()
    assert tail.MOST / 2 < kept.size <= tail.MOST
    np.testing.assert_array_equal(kept, np.sort(np.abs(values))[-kept.size :])


def test_a_bucket_with_too_many_values_ends_the_tail():
    values = np.append(np.full(tail.MOST + 1, 6.0), np.linspace(0.1, 5, 100))
    assert Distribution.of(values).tail.size == 0
    assert Distribution.of(np.append(values, 12.0)).tail.tolist() == [12.0]
