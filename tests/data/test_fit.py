"""Whether arrays fit a model input."""

from __future__ import annotations

import numpy as np
import pytest
from data_helpers import image_input
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from distq.data.fit import array_remedy, fit
from distq.data.samples import InputSpec
from distq.errors import DataError

REAL = st.sampled_from(["bool", "uint8", "int64", "float16", "float32", "float64", ">f4", ">i2"])


@given(hnp.arrays(REAL, st.just((3, 2)), elements={"min_value": 0, "max_value": 1}), st.booleans())
def test_any_real_numbers_feed_a_float_input(array, batched):
    got = fit(array[np.newaxis] if batched else array, image_input(3, 2), "s", "")
    assert (got.shape, got.dtype) == ((1, 3, 2), np.float32)
    np.testing.assert_array_equal(got[0], array.astype(np.float32))


@pytest.mark.parametrize(
    ("shape", "wanted", "fits"),
    [
        ((1, 3, 8, 8), (1, 3, 8, 8), (1, 3, 8, 8)),
        ((3, 8, 8), (1, 3, 8, 8), (1, 3, 8, 8)),
        ((3, 8, 8), (None, 3, 8, 8), (1, 3, 8, 8)),
        ((3, 8, 9), (None, 3, None, None), (1, 3, 8, 9)),
        ((3, 8, 9), (None, 3, None, 8), None),
        ((2, 3, 8, 8), (1, 3, 8, 8), None),
        ((2, 3, 8, 8), (2, 3, 8, 8), (2, 3, 8, 8)),
        ((3, 8, 8), (2, 3, 8, 8), None),  # a row is not repeated
        ((1, 3, 8, 8), (2, 3, 8, 8), None),
        ((7, 1, 4), (None, 1, 4), (7, 1, 4)),  # time first, of any length
        ((1, 4), (None, 1, 4), (1, 1, 4)),
        ((5, 1, 4), (5, None, 4), (5, 1, 4)),
        ((0, 4), (None, 4), None),
        ((1, 0, 4), (1, None, 4), (1, 0, 4)),  # nothing in a cache yet
        ((8, 8), (1, 3, 8, 8), None),
        ((), (1,), (1,)),
        ((), (None,), (1,)),
        ((), (), ()),
        ((1,), (), None),
        ((8,), (8,), (8,)),
        ((), (8,), None),
    ],
)
def test_a_sample_is_the_whole_input_or_a_row_of_its_batch(shape, wanted, fits):
    spec = InputSpec("x", wanted, "float32")
    if fits is not None:
        assert fit(np.zeros(shape, np.float32), spec, "s", "").shape == fits
        return
    with pytest.raises(DataError, match="input 'x' of sample s is"):
        fit(np.zeros(shape, np.float32), spec, "s", "")


def test_the_error_names_input_sample_sizes_and_remedy():
    spec = InputSpec("data", (None, 3, 224, None), "float32")
    with pytest.raises(
        DataError, match=r"input 'data' of sample cat\.jpg is 3x300x400, the model takes 3x224x\?: do"
    ):
        fit(np.zeros((1, 3, 300, 400)), spec, "cat.jpg", "do that")


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_nan_and_inf_are_refused(bad):
    array = np.zeros((1, 2, 2), np.float32)
    array[0, 1, 1] = bad
    with pytest.raises(DataError, match=r"input 'data' of sample 7 holds NaN or inf"):
        fit(array, image_input(2, 2), "7", "")


def test_a_number_too_large_for_float32_is_refused():
    with pytest.raises(DataError, match="NaN or inf as float32"):
        fit(np.full((1, 2), 1e300), image_input(2), "s", "")


@pytest.mark.parametrize(
    ("have", "want"), [("float32", "int64"), ("int32", "int64"), ("complex64", "float32"), ("U3", "float32")]
)
def test_other_dtypes_must_be_the_models(have, want):
    with pytest.raises(DataError, match=f"the model takes {want}: convert the data"):
        fit(np.zeros((1, 2), have), image_input(2, dtype=want), "s", "")


def test_integers_of_the_models_dtype_pass():
    got = fit(np.array([[1, 2]], ">i8"), image_input(2, dtype="int64"), "s", "")
    assert got.tolist() == [[1, 2]]
    assert got.dtype == np.int64


@pytest.mark.parametrize(
    ("wanted", "remedy"),
    [
        ((1, 3, 8), "give arrays of the model's shape"),
        ((2, 1, 8), r"a sample is the whole input: give 2x1x8 for each \(n x 2x1x8 for n samples\)"),
        ((), "give one number a sample"),
    ],
)
def test_the_remedy_says_what_a_sample_is(wanted, remedy):
    spec = InputSpec("x", wanted, "float32")
    with pytest.raises(DataError, match=remedy):
        fit(np.zeros((9, 9)), spec, "s", array_remedy(spec))
