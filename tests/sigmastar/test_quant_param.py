"""SigmaStar's quant_param."""

from __future__ import annotations

import json

import pytest

from distq.errors import FileFormatError, UsageError
from distq.quant.table import Row
from distq.sigmastar import read_quant_param, save_quant_param
from distq.sigmastar.quant_param import imported, quant_param_of


def row(low, high, bits=8, tied_to=None):
    top = max(-low, high)
    return Row(top, low, high, low, high, bits, signed=False, scale=0.1, zero_point=0,
               convention="255", method="max", tied_to=tied_to)  # fmt: skip


def write(tmp_path, content, name="quant.json"):
    path = tmp_path / name
    path.write_bytes(content if isinstance(content, bytes) else json.dumps(content).encode())
    return path


def test_what_is_written_is_read(tmp_path):
    params = quant_param_of({"b": row(0, 2.5, 16), "a": row(-1, 0.5)})
    assert params == [
        {"name": "a", "min": [-1], "max": [0.5], "bit": 8},
        {"name": "b", "min": [0], "max": [2.5], "bit": 16},
    ]
    save_quant_param(params, tmp_path / "quant.json")
    assert read_quant_param(tmp_path / "quant.json") == params


def test_the_vendors_file_is_read(tmp_path):
    path = write(
        tmp_path, [{"name": "conv1/weights", "min": [-4.5, -2], "max": [7.5, 3], "bit": 8, "data": [1]}]
    )
    assert read_quant_param(path) == [{"name": "conv1/weights", "min": [-4.5, -2], "max": [7.5, 3], "bit": 8}]


@pytest.mark.parametrize(("content", "name"), [(b"\x80\x04]\x94.", "q.json"), (b"[]", "q.pkl")])
def test_a_pickle_is_never_loaded(tmp_path, content, name):
    with pytest.raises(FileFormatError, match=r"is a pickle, which could run code .*: save it as JSON, with"):
        read_quant_param(write(tmp_path, content, name))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"a": 1}, r"is no list of \{name, min, max, bit\}"),
        ([{"min": [0], "max": [1]}], "entry 0 has no name"),
        ([{"name": "a", "min": [0], "max": ["x"]}], "max of a is no list of numbers"),
        ([{"name": "a", "min": [], "max": []}], "min of a has no numbers"),
        ([{"name": "a", "min": [2], "max": [1]}], "min of a is not below its max"),
        ([{"name": "a", "min": [0, 0], "max": [1]}], "min of a is not below its max"),
        ([{"name": "a", "min": [0], "max": [1], "bit": 7}], "bit of a is 7; it is 4, 8 or 16"),
        (b"[", "is not JSON"),
    ],
)
def test_what_is_wrong_is_named(tmp_path, content, message):
    with pytest.raises(FileFormatError, match=message):
        read_quant_param(write(tmp_path, content))


def test_ranges_go_before_measured_ones():
    table = {"a": row(-1, 1), "b": row(0, 4), "c": row(0, 4, tied_to="b")}
    found = imported(
        table,
        [
            {"name": "c", "min": [0.5], "max": [3.0], "bit": 16},
            {"name": "conv/weights", "min": [0], "max": [1], "bit": 8},
        ],
    )
    assert (found.int16, found.unknown) == (("b",), ("conv/weights",))
    assert (found.table["b"].threshold, found.table["b"].min, found.table["b"].max) == (3.0, 0.0, 3.0)
    assert found.table["a"] == table["a"]


def test_what_cannot_be_is_refused():
    table = {"b": row(0, 4), "c": row(0, 4, tied_to="b")}
    two = [{"name": name, "min": [0], "max": [top], "bit": 8} for name, top in (("b", 1), ("c", 2))]
    with pytest.raises(UsageError, match="gives b two ranges: c shares its quantizer"):
        imported(table, two)
    with pytest.raises(UsageError, match="gives b 4 bits: distq has 8 and 16"):
        imported(table, [{"name": "b", "min": [0], "max": [1], "bit": 4}])
