from unittest import mock

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from distq.calibration import counter, tail
from distq.calibration.counter import Counter, Memory
from distq.calibration.histogram import Distribution

ANY_FLOAT32 = st.floats(width=32)
LIKE_ACTIVATIONS = st.floats(-8, 8, width=32) | st.sampled_from([0.0, -0.0, 6.0])
TENSORS = hnp.arrays(np.float32, st.integers(0, 60), elements=ANY_FLOAT32 | LIKE_ACTIVATIONS)


def assert_same(one, other):
    ours, theirs = one.to_arrays(), other.to_arrays()
    assert ours.keys() == theirs.keys()
    for name in ours:
        np.testing.assert_array_equal(ours[name], theirs[name], err_msg=name)


@settings(max_examples=150)
@given(TENSORS, st.data())
def test_arrays_of_any_size_count_as_one(values, data):
    cuts = sorted(data.draw(st.lists(st.integers(0, values.size), max_size=6)))
    block, exact = data.draw(st.sampled_from([(1, 1), (7, 7), (7, 20), (1 << 16, 1 << 24)]))
    with mock.patch.object(tail, "MOST", data.draw(st.sampled_from([2, 7, 8192]))):
        whole = Distribution.of(values)
        with mock.patch.multiple(counter, _BLOCK=block, _EXACT=exact):
            counting = Counter()
            for piece in np.split(values, cuts):
                counting.add(piece)
            assert_same(Distribution.counted(counting), whole)


def test_many_arrays_keep_the_exact_tail_of_all():
    rng = np.random.default_rng(5)
    pieces = [(rng.laplace(size=30_000) * 2.0**k).astype(np.float32) for k in (0, -1, 3, 1, 2, -9, 3, 3)]
    counting = Counter()
    for piece in pieces:
        counting.add(piece)
    kept = Distribution.counted(counting).tail
    assert tail.MOST / 2 < kept.size <= tail.MOST
    np.testing.assert_array_equal(kept, np.sort(np.abs(np.concatenate(pieces)))[-kept.size :])


def test_what_is_added_may_change_afterwards():
    values = np.array([1.0, -2.0], np.float32)
    counting = Counter()
    counting.add(values)
    values[:] = 5
    assert_same(Distribution.counted(counting), Distribution.of(np.array([1.0, -2.0])))


def test_counters_share_memory_and_the_next_ones_start_from_nothing():
    memory = Memory(2)
    rng = np.random.default_rng(0)
    for scale in (1, 100):
        tensors = [rng.standard_normal(1000).astype(np.float32) * scale for _ in range(2)]
        counters = [Counter(memory, position) for position in range(2)]
        for half in (slice(0, 400), slice(400, 1000)):
            for counting, values in zip(counters, tensors, strict=True):
                counting.add(values[half])
        for counting, values in zip(counters, tensors, strict=True):
            assert_same(Distribution.counted(counting), Distribution.of(values))


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_what_is_not_finite_is_counted_apart_wherever_it_waits(value):
    counting = Counter()
    for piece in ([1.0, value], [value], [-3.0]):
        counting.add(np.array(piece, np.float32))
    found = Distribution.counted(counting)
    assert (found.nonfinite, found.count, found.min, found.max) == (2, 2, -3.0, 1.0)
