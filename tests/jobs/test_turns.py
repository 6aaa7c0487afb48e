"""Images of the search dealt out to workers and put back in their order."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from distq.jobs.dealing import TOGETHER, in_order, turns

WORKERS = st.integers(1, 20)


@given(count=st.integers(1, 70), workers=WORKERS, data=st.data())
def test_what_is_dealt_out_comes_back_in_the_order_of_the_images(
    count: int, workers: int, data: st.DataObject
) -> None:
    start = data.draw(st.integers(0, count - 1))
    end = data.draw(st.integers(start + 1, count))
    indices = data.draw(st.permutations(range(100, 100 + count)))
    hands = turns(indices, start, end, workers)
    arrays = [np.array([hand.indices, hand.indices], np.float64) for hand in hands]
    np.testing.assert_array_equal(in_order(arrays, hands, axis=1)[0], indices[start:end])
    assert len({hand.turn for hand in hands}) == len(hands)


@given(count=st.integers(1, 70), start=st.integers(0, 69), workers=WORKERS)
def test_an_image_always_goes_to_the_same_turn(count: int, start: int, workers: int) -> None:
    whole = {i: hand.turn for hand in turns(range(count), 0, count, workers) for i in hand.indices}
    part = {i: hand.turn for hand in turns(range(count), start, count, workers) for i in hand.indices}
    assert part == {index: turn for index, turn in whole.items() if index >= start}


@pytest.mark.parametrize("workers", [1, 2, 3, 4, 5, 8, 16])
def test_every_worker_gets_as_many_images(workers: int) -> None:
    images = dict.fromkeys(range(workers), 0)
    hands = turns(range(480), 0, 480, workers)
    for hand in hands:
        images[hand.turn % workers] += len(hand.indices)
    assert set(images.values()) == {480 // workers}


def test_the_first_images_are_spread_over_workers() -> None:
    for workers in (2, 3, 4, 8):
        first = turns(range(64), 0, workers * TOGETHER, workers)
        assert {hand.turn % workers for hand in first} == set(range(workers))


def test_a_search_goes_on_with_two_or_four_workers_where_one_left_off() -> None:
    assert turns(range(64), 0, 64, 1) == turns(range(64), 0, 64, 2) == turns(range(64), 0, 64, 4)
