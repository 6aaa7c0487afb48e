import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from distq.calibration import buckets


def test_a_bucket_is_a_2048th_of_its_octave():
    edges = buckets.edges(buckets.octave(1.5))
    assert edges.size == buckets.BUCKETS + 1
    assert edges[-1] == 2.0
    np.testing.assert_array_equal(np.diff(edges)[-2048:], 2.0**-11)
    np.testing.assert_array_equal(np.diff(edges)[-4096:-2048], 2.0**-12)
    assert edges[0] == 0.0


def test_edges_exist_for_the_largest_and_the_smallest_float32():
    largest, smallest = np.finfo(np.float32).max, np.finfo(np.float32).smallest_subnormal
    assert buckets.edges(buckets.octave(float(largest)))[-1] == 2.0**128
    lowest = buckets.edges(buckets.octave(float(smallest)))
    assert np.all(np.diff(lowest) > 0)
    assert lowest[1] == smallest * 2.0**12


@given(st.integers(0, 20), st.integers(0, 20), st.integers(0, 2**32))
def test_moving_a_window_up_in_steps_or_at_once_is_the_same(first, second, seed):
    counts = np.random.default_rng(seed).integers(0, 5, buckets.BUCKETS)
    moved = buckets.moved_up(buckets.moved_up(counts, first), second)
    np.testing.assert_array_equal(moved, buckets.moved_up(counts, first + second))
    assert moved.sum() == counts.sum()
