"""Integer weights whose products a kernel adds up in pairs."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from distq.quant.pairs import LARGEST_PAIR, largest_pairs, within_pairs

shapes = st.tuples(st.integers(1, 3), st.integers(1, 7), st.integers(1, 3), st.integers(1, 2))
integers = shapes.flatmap(lambda shape: hnp.arrays(np.int8, shape, elements=st.integers(-127, 127)))


@given(rows=integers)
def test_no_two_neighbours_add_up_beyond_16_bits_however_a_kernel_packs_them(rows):
    """One packs all inputs of an output behind each other, one those of each position by themselves."""
    found = within_pairs(rows).astype(int)
    channels_last = np.moveaxis(found, 1, -1)
    outputs, inputs = rows.shape[:2]
    for packed in (channels_last.reshape(outputs, 1, -1), channels_last.reshape(outputs, -1, inputs)):
        even = np.pad(packed, ((0, 0), (0, 0), (0, packed.shape[-1] % 2)))
        sums = even[..., 0::2] + even[..., 1::2]
        assert 255 * abs(sums).max() < 2**15
    assert largest_pairs(found.astype(np.int8)).max() <= LARGEST_PAIR


@given(rows=integers)
def test_weights_within_their_room_stay_and_others_only_come_nearer_to_zero(rows):
    found = within_pairs(rows).astype(int)
    assert (abs(found) <= abs(rows.astype(int))).all()
    assert (found * rows >= 0).all()
    fits = largest_pairs(rows) <= LARGEST_PAIR
    np.testing.assert_array_equal(found[fits], rows[fits])
    np.testing.assert_array_equal(within_pairs(found.astype(np.int8)), found)


@pytest.mark.parametrize(
    ("row", "found"),
    [
        ([127, 1, 127, 127], [127, 1, 1, 127]),
        ([127, -127, 100, 28], [127, -127, 100, 28]),
        ([-100, -100, 0, 127], [-28, -100, 0, 127]),
        ([1, 127, 127, 1], [1, 127, 127, 1]),
    ],
)
def test_known_rows(row, found):
    assert within_pairs(np.int8([row])).tolist() == [found]


def test_an_odd_number_of_channels_has_neighbours_across_positions():
    rows = np.int8([[[60, 100], [0, 0], [100, 60]]])  # position 0 is 60, 0, 100; position 1 is 100, 0, 60
    assert largest_pairs(rows).tolist() == [200]
    assert largest_pairs(rows[:, :2]).tolist() == [100]
