"""Loading ahead: in order, bounded, and over when the caller is."""

from __future__ import annotations

import threading

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from distq.data.ahead import load_ahead
from distq.data.samples import Sample, UnreadableSample
from distq.errors import DataError


class FakeDataset:
    """Counts what is loaded; some samples are unreadable, some do not fit."""

    def __init__(self, count=100, unreadable=(), unfit=()):
        self.count, self.unreadable, self.unfit = count, set(unreadable), set(unfit)
        self.loaded: list[int] = []

    def __len__(self):
        return self.count

    def name(self, index):
        return str(index)

    def label(self, index):
        return index

    def load(self, index):
        self.loaded.append(index)
        if index in self.unreadable:
            raise UnreadableSample(f"image {index} cannot be decoded")
        if index in self.unfit:
            raise DataError(f"sample {index} does not fit")
        return Sample(index, str(index), {"x": np.zeros((1, 1))}, index)


def distq_threads():
    return [thread for thread in threading.enumerate() if thread.name.startswith("distq-decode")]


@settings(deadline=None)
@given(
    st.lists(st.integers(0, 99), max_size=20),
    st.sets(st.integers(0, 99)),
    st.integers(1, 3),
    st.integers(1, 5),
)
def test_samples_come_in_order_and_unreadable_ones_in_their_place(indices, unreadable, threads, depth):
    dataset = FakeDataset(unreadable=unreadable)
    loaded = list(load_ahead(dataset, indices, threads, depth))
    assert [sample.index for sample in loaded] == indices
    assert [isinstance(sample, UnreadableSample) for sample in loaded] == [i in unreadable for i in indices]
    assert not distq_threads()


def test_no_more_than_depth_samples_are_ahead_of_the_caller():
    dataset = FakeDataset()
    stream = load_ahead(dataset, range(100), threads=2, depth=3)
    for taken in range(1, 20):
        next(stream)
        assert len(dataset.loaded) <= taken + 3
    stream.close()


def test_decoding_goes_on_while_the_caller_works():
    dataset = FakeDataset(count=4)
    stream = load_ahead(dataset, range(4), threads=1, depth=2)
    next(stream)
    pause = threading.Event()
    for _ in range(1000):
        if len(dataset.loaded) >= 2:
            break
        pause.wait(0.01)
    assert dataset.loaded[:2] == [0, 1]
    stream.close()


def test_closing_early_ends_the_threads_and_loads_no_more():
    dataset = FakeDataset()
    stream = load_ahead(dataset, range(100), threads=2, depth=4)
    next(stream)
    stream.close()
    assert not distq_threads()
    assert len(dataset.loaded) <= 5


def test_another_error_is_raised_and_ends_the_threads():
    dataset = FakeDataset(unfit={2})
    stream = load_ahead(dataset, range(10), depth=2)
    assert [next(stream).index for _ in range(2)] == [0, 1]
    with pytest.raises(DataError, match="sample 2 does not fit"):
        next(stream)
    assert not distq_threads()


def test_indices_may_be_endless():
    stream = load_ahead(FakeDataset(), iter(lambda: 7, None), depth=2)
    assert [next(stream).index for _ in range(5)] == [7] * 5
    stream.close()


@pytest.mark.parametrize(("threads", "depth"), [(0, 1), (1, 0)])
def test_no_threads_or_no_depth_is_refused(threads, depth):
    with pytest.raises(ValueError, match="at least one"):
        next(load_ahead(FakeDataset(), [1], threads, depth))
