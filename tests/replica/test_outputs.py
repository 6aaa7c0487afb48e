import numpy as np

from distq.replica.outputs import as_numbers, kept_bytes


def test_tensors_of_numbers_stay_as_they_are():
    arrays = [np.ones((2, 3), np.float32), np.array([True])]
    assert all(a is b for a, b in zip(as_numbers(arrays), arrays, strict=True))


def test_only_equal_strings_have_equal_numbers():
    one, other = as_numbers([np.array([["cat", "dog"]], object), np.array([["cat", "cow"]], object)])
    assert one.shape == (1, 2)
    assert one[0, 0] == other[0, 0]
    assert one[0, 1] != other[0, 1]


def test_elements_of_a_sequence_follow_one_another():
    found = as_numbers([[np.ones((2, 2), np.float32), np.zeros(1)], [{"a": 2.0}], None])
    assert [array.shape for array in found] == [(5,), (2,), (0,)]
    assert found[1][1] == 2


def test_the_memory_of_sequences_is_that_of_their_elements():
    assert kept_bytes([np.zeros(4), [np.zeros(2, np.float32)], None]) == 40
