"""Samples from Python, one by one."""

from __future__ import annotations

from itertools import count

import numpy as np
import pytest

from distq.data.recorded import RecordedSource, is_recorded
from distq.data.samples import InputSpec
from distq.data.stream import record
from distq.errors import DataError

ONE = (InputSpec("x", (None, 2), "float32"),)
TWO = (InputSpec("x", (None, 2), "float32"), InputSpec("n", (1, 3), "int64"))


def stream(items, inputs, folder, most=None):
    record(items, inputs, folder, most, lambda: None)
    source = RecordedSource(folder, None)
    return [source.arrays(index) for index in range(len(source))]


def test_an_item_is_an_array_for_a_model_of_one_input(tmp_path):
    found = stream((np.full(2, n) for n in range(3)), ONE, tmp_path)
    assert [a["x"].tolist() for a in found] == [[[0, 0]], [[1, 1]], [[2, 2]]]
    assert found[0]["x"].dtype == np.float32


def test_an_item_is_a_tuple_or_a_mapping_for_several(tmp_path):
    items = [([1, 2], np.array([1, 2, 3])), {"n": np.array([[4, 5, 6]]), "x": np.ones((1, 2))}]
    found = stream(items, TWO, tmp_path)
    assert [a["n"].tolist() for a in found] == [[[1, 2, 3]], [[4, 5, 6]]]
    assert list(found[1]) == ["x", "n"]


def test_an_endless_generator_ends_where_enough_is_there(tmp_path):
    numbers = count()
    assert len(stream((np.full(2, n) for n in numbers), ONE, tmp_path, most=4)) == 4
    assert next(numbers) == 4  # none was taken for nothing


@pytest.mark.parametrize(
    ("item", "inputs", "message"),
    [
        (
            np.zeros(3),
            ONE,
            r"input 'x' of sample 1 is 3, the model takes 2: give arrays of the model's shape",
        ),
        (np.full(2, np.nan), ONE, r"sample 1 holds NaN or inf"),
        (
            [np.zeros(2), np.zeros(2)],
            ONE,
            r"item 1 holds 2 arrays, the model has 1 input \(x\): give a tuple",
        ),
        (np.zeros(2), TWO, r"item 1 holds 1 array, the model has 2 inputs \(x, n\)"),
        ({"y": np.zeros(2)}, ONE, r"item 1 has keys y, the model's inputs are x"),
        (object(), ONE, r"item 1 is of type object, no array"),
        ("photo.png", ONE, r"input 'x' of sample 1 is one number, the model takes 2"),
    ],
)
def test_an_item_that_does_not_fit_is_named(tmp_path, item, inputs, message):
    first = [np.zeros(2)] if inputs is ONE else [(np.zeros(2), np.zeros(3, np.int64))]
    with pytest.raises(DataError, match=message):
        stream([*first, item], inputs, tmp_path)
    assert not is_recorded(tmp_path)


def test_what_a_generator_raises_comes_through(tmp_path):
    def broken():
        yield np.zeros(2)
        raise RuntimeError("the user's own")

    with pytest.raises(RuntimeError, match="the user's own"):
        stream(broken(), ONE, tmp_path)


def test_no_items_are_refused(tmp_path):
    with pytest.raises(DataError, match="gives no samples: was this generator used before"):
        stream(iter(()), ONE, tmp_path)
