"""Samples divided among workers and put back in their order."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from distq.engine.portions import TOGETHER, in_order, portions

WORKERS = st.integers(1, 20)


@given(count=st.integers(1, 70), workers=WORKERS, data=st.data())
def test_what_is_divided_comes_back_in_the_order_of_the_samples(
    count: int, workers: int, data: st.DataObject
) -> None:
    start = data.draw(st.integers(0, count - 1))
    end = data.draw(st.integers(start + 1, count))
    indices = data.draw(st.permutations(range(100, 100 + count)))
    parts = portions(indices, start, end, workers)
    arrays = [np.array([part.indices, part.indices], np.float64) for part in parts]
    np.testing.assert_array_equal(in_order(arrays, parts, axis=1)[0], indices[start:end])
    assert len({part.number for part in parts}) == len(parts)


@given(count=st.integers(1, 70), start=st.integers(0, 69), workers=WORKERS)
def test_a_sample_always_belongs_to_the_same_portion(count: int, start: int, workers: int) -> None:
    whole = {i: part.number for part in portions(range(count), 0, count, workers) for i in part.indices}
    later = {i: part.number for part in portions(range(count), start, count, workers) for i in part.indices}
    assert later == {index: number for index, number in whole.items() if index >= start}


@pytest.mark.parametrize("workers", [1, 2, 3, 4, 5, 8, 16])
def test_every_worker_gets_as_many_images(workers: int) -> None:
    images = dict.fromkeys(range(workers), 0)
    parts = portions(range(480), 0, 480, workers)
    for part in parts:
        images[part.number % workers] += len(part.indices)
    assert set(images.values()) == {480 // workers}


def test_the_first_images_are_spread_over_workers() -> None:
    for workers in (2, 3, 4, 8):
        first = portions(range(64), 0, workers * TOGETHER, workers)
        assert {part.number % workers for part in first} == set(range(workers))


def test_a_search_goes_on_with_two_or_four_workers_where_one_left_off() -> None:
    assert portions(range(64), 0, 64, 1) == portions(range(64), 0, 64, 2) == portions(range(64), 0, 64, 4)
