from __future__ import annotations

import io

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst

from distq.engine.packing import pack_arrays, unpack_arrays
from distq.errors import FileFormatError

DTYPES = st.sampled_from(
    [np.bool_, np.int8, np.uint8, np.int32, np.int64, np.float32, np.float64, ">f4"]
).map(np.dtype)
ARRAYS = st.dictionaries(
    st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=12),
    npst.arrays(DTYPES, npst.array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=4)),
    max_size=4,
)


@given(ARRAYS)
def test_arrays_come_back_bit_for_bit_in_their_order(arrays: dict[str, np.ndarray]) -> None:
    back = unpack_arrays(pack_arrays(arrays))
    assert list(back) == list(arrays)
    for name, array in arrays.items():
        assert back[name].dtype == array.dtype
        assert back[name].shape == array.shape
        assert back[name].tobytes() == array.tobytes()


def test_the_same_arrays_give_the_same_bytes() -> None:
    arrays = {"/conv/out:0": np.arange(6).reshape(2, 3), "y": np.zeros(0)}
    assert pack_arrays(arrays) == pack_arrays({name: array.copy() for name, array in arrays.items()})


def test_numpy_reads_it_without_pickle() -> None:
    with np.load(io.BytesIO(pack_arrays({"x": np.arange(3)})), allow_pickle=False) as loaded:
        assert loaded["x"].tolist() == [0, 1, 2]


def test_python_objects_are_refused() -> None:
    with pytest.raises(ValueError, match="Object arrays"):
        pack_arrays({"x": np.array([object()])})


@pytest.mark.parametrize("cut", [0, 10, 60, -30])
def test_damaged_bytes_are_an_error_of_ours(cut: int) -> None:
    data = pack_arrays({"x": np.arange(100)})
    with pytest.raises(FileFormatError):
        unpack_arrays(data[:cut])


def test_an_npz_with_a_pickle_is_refused() -> None:
    stream = io.BytesIO()
    np.savez(stream, x=np.array([{}], dtype=object), allow_pickle=True)
    with pytest.raises(FileFormatError):
        unpack_arrays(stream.getvalue())
