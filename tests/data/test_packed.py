"""Many byte strings in one piece."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from distq.data.packed import PackedBytes


@given(st.lists(st.binary(max_size=20), max_size=30))
def test_strings_come_back_as_they_were(parts):
    packed = PackedBytes(iter(parts))
    assert [packed[i] for i in range(len(packed))] == parts
    with pytest.raises(IndexError):
        packed[len(parts)]


@given(st.lists(st.binary(max_size=3), max_size=4), st.lists(st.binary(max_size=3), max_size=4))
def test_the_hash_tells_strings_apart_also_by_where_they_end(one, other):
    assert (PackedBytes(one).sha256() == PackedBytes(other).sha256()) == (one == other)
