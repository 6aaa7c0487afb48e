from unittest import mock

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from distq.calibration import counter, tail
from distq.calibration.counter import Counter, Memory, spacing
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
    look, block, exact = data.draw(
        st.sampled_from([(1, 1, 1), (7, 7, 7), (20, 7, 20), (1 << 17, 1 << 16, 1 << 24)])
    )
    with mock.patch.object(tail, "MOST", data.draw(st.sampled_from([2, 7, 8192]))):
        whole = Distribution.of(values)
        with mock.patch.multiple(counter, _LOOK=look, _BLOCK=block, _EXACT=exact):
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
    kept = Distribution.counted(counting).tail_magnitudes()
    assert tail.MOST / 2 < kept.size <= tail.MOST
    np.testing.assert_array_equal(kept, np.sort(np.abs(np.concatenate(pieces)))[-kept.size :])


SAMPLES = st.lists(
    hnp.arrays(np.float32, st.sampled_from([0, 5, 12, 60]), elements=ANY_FLOAT32 | LIKE_ACTIVATIONS),
    max_size=8,
)


@settings(max_examples=150)
@given(SAMPLES, st.data())
def test_a_part_of_each_array_counts_the_same_in_whatever_turn_and_company(arrays, data):
    order = data.draw(st.permutations(range(len(arrays))))
    cuts = sorted(data.draw(st.lists(st.integers(0, len(arrays)), max_size=3)))
    shards = np.split(np.array(order, np.int64), cuts)
    with mock.patch.object(tail, "MOST", data.draw(st.sampled_from([2, 7, 8192]))):
        alone = Distribution.empty()
        for array in arrays:
            counting = Counter(most=10)
            counting.add(array)
            alone.add(Distribution.counted(counting))
        together = Distribution.empty()
        look = data.draw(st.sampled_from([13, 120, 1 << 17]))
        with mock.patch.multiple(counter, _LOOK=look, _BLOCK=13):
            for shard in shards:
                counting = Counter(most=10)
                for i in shard:
                    counting.add(arrays[i])
                together.add(Distribution.counted(counting))
    assert_same(together, alone)


def test_of_a_large_array_evenly_spaced_values_count_for_their_neighbours():
    rng = np.random.default_rng(1)
    rows = rng.laplace(size=(30, 40, 100)).astype(np.float32)  # each row has its own scale
    rows *= 2.0 ** rng.integers(-3, 3, (30, 40, 1), np.int32)
    rows[rows < -1] = 0
    counting = Counter(most=8192)
    counting.add(rows)
    part, whole = Distribution.counted(counting), Distribution.of(rows)
    assert (part.min, part.max, part.top) == (whole.min, whole.max, whole.top)
    np.testing.assert_array_equal(np.sort(part.tail), np.sort(whole.tail))
    assert part.count == pytest.approx(whole.count, abs=spacing(rows.size, 8192))
    assert part.zeros == pytest.approx(whole.zeros, rel=0.05)
    shares = [np.cumsum(d.magnitude_counts()) / d.total for d in (part, whole)]
    assert np.abs(shares[0] - shares[1]).max() < 0.02


@pytest.mark.parametrize("size", [1, 8192, 8193, 3 * 224 * 224, 3549 * 85])
def test_the_spacing_meets_every_row_and_column(size):
    step = spacing(size, 8192)
    assert (size + step - 1) // step <= 8192
    assert np.gcd(step, size) == 1


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
