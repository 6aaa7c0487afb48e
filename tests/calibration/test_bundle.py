import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from distq.calibration.bundle import pack, unpack
from distq.calibration.counter import Counter, Memory
from distq.calibration.histogram import Distribution

TENSOR = hnp.arrays(np.float32, st.integers(0, 40), elements=st.floats(width=32) | st.just(0.0))


def packed(tensors):
    memory = Memory(len(tensors))
    counters = [Counter(memory, position) for position in range(len(tensors))]
    for counter, values in zip(counters, tensors, strict=True):
        counter.add(values)
    return pack(counters)


def assert_unpacks(tensors):
    found = list(unpack(packed(tensors)))
    assert len(found) == len(tensors)
    for distribution, values in zip(found, tensors, strict=True):
        ours, theirs = distribution.to_arrays(), Distribution.of(values).to_arrays()
        for name, array in theirs.items():
            np.testing.assert_array_equal(ours[name], array, err_msg=name)


@given(st.lists(TENSOR, max_size=4))
def test_distributions_arrive_as_they_were_counted(tensors):
    assert_unpacks(tensors)


@pytest.mark.parametrize("repeats", [200, 300, 70_000])
def test_counts_of_any_width_arrive(repeats):
    often = np.full(repeats, -3.0, np.float32)
    assert_unpacks([np.append(often, 1.0), np.zeros(repeats), often])


def test_the_arrays_are_few_and_hold_no_objects():
    arrays = packed([np.ones(3, np.float32)] * 5)
    assert len(arrays) == 4
    assert not any(array.dtype.hasobject for array in arrays.values())
