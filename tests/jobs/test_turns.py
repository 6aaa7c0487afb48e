"""Images of the search dealt out to workers and put back in their order."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from distq.jobs.scoring import TOGETHER, TURNS, in_order, turns


@given(count=st.integers(1, 70), data=st.data())
def test_what_is_dealt_out_comes_back_in_the_order_of_the_images(count: int, data: st.DataObject) -> None:
    start = data.draw(st.integers(0, count - 1))
    end = data.draw(st.integers(start + 1, count))
    indices = data.draw(st.permutations(range(100, 100 + count)))
    hands = turns(indices, start, end)
    arrays = [np.array([hand.indices, hand.indices], np.float64) for hand in hands]
    np.testing.assert_array_equal(in_order(arrays, hands, axis=1)[0], indices[start:end])
    assert len({hand.turn for hand in hands}) == len(hands) <= TURNS


@given(count=st.integers(1, 70), start=st.integers(0, 69))
def test_an_image_always_goes_to_the_same_turn(count: int, start: int) -> None:
    whole = {index: hand.turn for hand in turns(range(count), 0, count) for index in hand.indices}
    part = {index: hand.turn for hand in turns(range(count), start, count) for index in hand.indices}
    assert part == {index: turn for index, turn in whole.items() if index >= start}


def test_the_first_images_are_spread_over_workers() -> None:
    assert len(turns(range(64), 0, 4 * TOGETHER)) == 4
