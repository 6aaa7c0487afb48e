import itertools
from unittest import mock

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from distq.calibration import tail
from distq.calibration.histogram import Distribution
from distq.errors import FileFormatError

ANY_FLOAT32 = st.floats(width=32)
LIKE_ACTIVATIONS = st.floats(-8, 8, width=32)
TENSORS = hnp.arrays(np.float32, st.integers(0, 60), elements=ANY_FLOAT32 | LIKE_ACTIVATIONS | st.just(0.0))


def assert_same(one, other):
    ours, theirs = one.to_arrays(), other.to_arrays()
    assert ours.keys() == theirs.keys()
    for name in ours:
        np.testing.assert_array_equal(ours[name], theirs[name], err_msg=name)


def merged(parts):
    result = Distribution.empty()
    for part in parts:
        result.add(part)
    return result


@settings(max_examples=150)
@given(TENSORS, st.data())
def test_any_split_in_any_order_gives_the_counts_of_one_pass(values, data):
    order = data.draw(st.permutations(range(values.size)))
    cuts = sorted(data.draw(st.lists(st.integers(0, values.size), max_size=4)))
    with mock.patch.object(tail, "MOST", data.draw(st.sampled_from([2, 7, 8192]))):
        pieces = [Distribution.of(piece) for piece in np.split(values[list(order)], cuts)]
        assert_same(merged(pieces), Distribution.of(values))


@settings(max_examples=60)
@given(TENSORS, TENSORS, TENSORS)
def test_merge_is_associative_and_commutative_and_changes_neither_side(a, b, c):
    a, b, c = (Distribution.of(values) for values in (a, b, c))
    before = {name: array.copy() for name, array in a.to_arrays().items()}
    assert_same(a.merge(b).merge(c), a.merge(b.merge(c)))
    assert_same(a.merge(b), b.merge(a))
    for name, array in a.to_arrays().items():
        np.testing.assert_array_equal(array, before[name])


@pytest.mark.parametrize("count", [30_000, 150_000])
def test_a_tensor_larger_than_the_tail_and_the_cache_merges_exactly_too(count):
    rng = np.random.default_rng(3)
    values = (rng.laplace(size=count) * 2.0 ** rng.integers(-20, 1, count)).astype(np.float32)
    whole = Distribution.of(values)
    assert 0 < whole.tail.size <= tail.MOST
    pieces = [Distribution.of(piece) for piece in np.array_split(values, 7)]
    for order in ([0, 1, 2, 3, 4, 5, 6], [6, 2, 0, 4, 1, 5, 3]):
        assert_same(merged(pieces[i] for i in order), whole)


@given(hnp.arrays(np.float32, st.integers(1, 200), elements=st.floats(width=32, allow_nan=False)))
def test_counts_are_those_of_a_plain_histogram_with_the_same_edges(values):
    distribution = Distribution.of(values)
    finite = values[np.isfinite(values)].astype(np.float64)
    edges = distribution.bucket_edges()
    np.testing.assert_array_equal(distribution.positive, np.histogram(finite[finite >= 0], edges)[0])
    negative = distribution.negative if distribution.negative.size else np.zeros(edges.size - 1)
    np.testing.assert_array_equal(negative, np.histogram(-finite[finite < 0], edges)[0])
    assert distribution.count == finite.size
    assert distribution.zeros == np.count_nonzero(finite == 0)
    if finite.size:
        assert (distribution.min, distribution.max) == (finite.min(), finite.max())
        assert distribution.absmax == np.abs(finite).max()


def test_non_finite_values_are_counted_and_left_out():
    distribution = Distribution.of(np.array([1.0, np.nan, -2.0, np.inf, -np.inf, np.nan]))
    assert (distribution.nonfinite, distribution.count) == (4, 2)
    assert (distribution.min, distribution.max) == (-2.0, 1.0)
    assert Distribution.of(np.array([np.nan])).count == 0


def test_minus_zero_is_zero_and_not_negative():
    for values in ([-0.0], [-0.0, 3.0], [0.0, -0.0]):
        distribution = Distribution.of(np.array(values))
        assert distribution.is_non_negative
        assert distribution.negative.size == 0
        assert not np.signbit(distribution.min)
    assert Distribution.of(np.array([-0.0, -1.0])).zeros == 1


def test_a_tensor_of_nothing_is_empty_and_changes_nothing():
    distribution = Distribution.of(np.array([0.5, -4.0]))
    assert Distribution.of(np.zeros((0, 3))).absmax == 0.0
    assert_same(distribution.merge(Distribution.empty()), distribution)


@pytest.mark.parametrize("dtype", [np.float16, np.float64])
def test_other_types_count_as_their_float32(dtype):
    values = np.random.default_rng(0).standard_normal(1000).astype(dtype)
    assert_same(Distribution.of(values), Distribution.of(values.astype(np.float32)))


def test_a_float64_beyond_float32_is_not_finite():
    assert Distribution.of(np.array([1e300, 1.0])).nonfinite == 1


def test_layout_in_memory_does_not_matter():
    values = np.random.default_rng(0).standard_normal((6, 20, 30)).astype(np.float32)
    whole = Distribution.of(values)
    assert_same(Distribution.of(values.transpose(2, 0, 1)), whole)
    halves = Distribution.of(values[:, ::2]).merge(Distribution.of(values[:, 1::2]))
    assert_same(halves, whole)


def test_the_histogram_of_magnitudes_is_exact_where_the_tail_holds_all_values():
    values = np.random.default_rng(1).standard_normal(5000).astype(np.float32)
    edges = np.linspace(0, 6, 513)
    histogram = Distribution.of(np.append(values, np.zeros(100))).magnitude_histogram(edges)
    np.testing.assert_array_equal(histogram, np.histogram(np.abs(values), edges)[0])


def test_the_histogram_of_magnitudes_is_close_in_the_bulk_and_exact_in_the_tail():
    values = np.abs(np.random.default_rng(1).laplace(size=200_000)).astype(np.float32)
    distribution = Distribution.of(values)
    edges = np.linspace(0, distribution.absmax * 1.001, 2049)
    expected = np.histogram(values, edges)[0]
    histogram = distribution.magnitude_histogram(edges)
    assert histogram.sum() == values.size
    exact = edges[:-1] >= distribution.tail[0]
    assert exact.any()
    np.testing.assert_array_equal(histogram[exact], expected[exact])
    assert np.abs(histogram - expected).sum() < 0.02 * values.size


def test_values_and_magnitudes_leave_exact_zeros_out():
    distribution = Distribution.of(np.array([0.0, 0.0, -1.5, 1.5, 3.0]))
    centers, counts = distribution.values()
    np.testing.assert_allclose(centers, [-1.5, 1.5, 3.0], rtol=2**-11)
    np.testing.assert_array_equal(counts, [1, 1, 1])
    centers, counts = distribution.magnitudes()
    np.testing.assert_allclose(centers, [1.5, 3.0], rtol=2**-11)
    np.testing.assert_array_equal(counts, [2, 1])


@given(TENSORS)
def test_arrays_hold_the_whole_distribution_without_objects(values):
    distribution = Distribution.of(values)
    arrays = distribution.to_arrays("conv1/")
    assert all(name.startswith("conv1/") and not array.dtype.hasobject for name, array in arrays.items())
    assert_same(Distribution.from_arrays(arrays, "conv1/"), distribution)


@pytest.mark.parametrize(
    ("name", "index", "value"),
    [
        ("totals", 0, 7),
        ("totals", 1, 9),
        ("totals", 2, -1),
        ("totals", 3, 140),
        ("range", 0, 1.0),
        ("range", 1, np.inf),
        ("range", 1, 1e200),
        ("positive_buckets", 0, 40_000),
        ("positive_counts", 0, -1),
        ("negative_counts", 0, 2),
        ("tail", 0, 9.0),
        ("tail", -1, np.nan),
    ],
)
def test_arrays_that_do_not_fit_together_are_refused(name, index, value):
    arrays = Distribution.of(np.array([0.25, 0.5, -2.0, 3.0])).to_arrays()
    arrays[name] = arrays[name].copy()
    arrays[name][index] = value
    with pytest.raises(FileFormatError, match="--dump-dist"):
        Distribution.from_arrays(arrays)


def test_missing_or_foreign_arrays_are_refused():
    arrays = Distribution.of(np.array([0.5, -2.0])).to_arrays()
    foreign = (np.zeros(3, np.float64), np.zeros((2, 2), np.int64), np.array("text"))
    for name, replacement in itertools.product(arrays, (None, *foreign)):
        changed = dict(arrays)
        if replacement is None:
            del changed[name]
        else:
            changed[name] = replacement
        with pytest.raises(FileFormatError):
            Distribution.from_arrays(changed)
