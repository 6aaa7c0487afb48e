"""Boxes of annotated records."""

from __future__ import annotations

import contextlib

import pytest
from data_helpers import annotated_datum, picture, raw_datum
from hypothesis import given
from hypothesis import strategies as st

from distq.data.boxes import Box, decode_boxes
from distq.data.datum import decode_datum

INNER = raw_datum(picture(4, 6), label=-1)
ANNOTATED = annotated_datum(
    INNER, {15: [(0.25, 0.5, 0.75, 1.0, False), (0.0, 0.0, 0.5, 0.5, True)], 3: [(0.125, 0, 1, 0.25, False)]}
)


def test_boxes_come_with_their_class_in_the_order_stored():
    assert decode_boxes(ANNOTATED) == (
        Box(15, 0.25, 0.5, 0.75, 1.0),
        Box(15, 0.0, 0.0, 0.5, 0.5, difficult=True),
        Box(3, 0.125, 0.0, 1.0, 0.25),
    )
    assert decode_datum(ANNOTATED).data == decode_datum(INNER).data


def test_a_plain_record_has_none():
    assert decode_boxes(INNER) == ()


@pytest.mark.parametrize("cut", [1, 7, 30])
def test_a_record_cut_short_is_refused(cut):
    with pytest.raises(ValueError, match="ends early"):
        decode_boxes(ANNOTATED[:-cut])


@given(st.binary(max_size=100))
def test_bytes_of_anything_else_are_refused_or_boxes(data):
    with contextlib.suppress(ValueError):
        assert all(isinstance(box, Box) for box in decode_boxes(data))
