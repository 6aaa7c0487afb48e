"""Each format is recognised by its content, says what its tool means by it, and is written as it was read."""

from __future__ import annotations

import pytest
from goldens import BITMAIN, ORT_FLATBUFFER, SAID

from distq.exchange.formats import Request
from distq.exchange.registry import FORMATS, read_content, recognise
from distq.exchange.text import Content


def test_every_format_has_a_golden_file():
    assert SAID.keys() == FORMATS.keys()


@pytest.mark.parametrize("name", SAID)
def test_a_file_is_recognised_by_its_content(name):
    assert recognise(Content("table", SAID[name][0])).name == name


@pytest.mark.parametrize("name", SAID)
def test_a_file_says_what_its_tool_means(name):
    data, entries, weights = SAID[name]
    _, table = read_content(Content("table", data))
    assert table.entries.keys() == entries.keys()
    for tensor, (threshold, low, high) in entries.items():
        found = table.entries[tensor]
        assert (found.threshold, found.low, found.high) == pytest.approx((threshold, low, high), rel=1e-6)
    assert table.weights.keys() == weights.keys()
    for weight, scales in weights.items():
        assert table.weights[weight].scales == pytest.approx(scales, rel=1e-6)


@pytest.mark.parametrize("name", SAID)
def test_what_was_read_is_written_as_it_was(name):
    data = SAID[name][0]
    found, table = read_content(Content("table", data))
    assert found.write(Request(table, table.convention or 127)) == data


@pytest.mark.parametrize("name", ["tpu-mlir", "tensorrt", "ncnn", "qtable", "csv", "bitmain-text", "rknn"])
def test_lines_may_end_as_on_windows(name):
    data = SAID[name][0]
    _, table = read_content(Content("table", data.replace(b"\n", b"\r\n")))
    _, wanted = read_content(Content("table", data))
    assert (table.entries, table.weights, table.modes) == (wanted.entries, wanted.weights, wanted.modes)


def test_modes_of_a_qtable_and_float_encodings_are_read():
    _, table = read_content(Content("table", SAID["qtable"][0]))
    assert table.modes == {"conv1_Relu": "F16", "fc_Gemm": "F32"}
    _, table = read_content(Content("table", SAID["aimet-0.6"][0]))
    assert table.modes == {"gone": "F16"}


def test_a_symmetric_op_of_tpu_mlir_does_not_take_its_columns_as_the_range():
    data = SAID["tpu-mlir"][0] + b"\n# symmetric_op\n# data\n"
    _, table = read_content(Content("table", data.replace(b"-0.5000000 1.00", b"-1.0078821 1.00")))
    assert table.entries["data"].low == pytest.approx(-1.000008)


def test_bitmains_convention_is_128_unless_said_otherwise():
    _, table = read_content(Content("table", BITMAIN))
    assert table.entries["conv1"].symmetric_scale == pytest.approx(6 / 128)
    _, table = read_content(Content("table", BITMAIN), convention=127)
    assert table.entries["conv1"].symmetric_scale == pytest.approx(6 / 127)


def test_another_convention_keeps_the_scale():
    found, table = read_content(Content("table", BITMAIN))
    data = found.write(Request(table, 127))
    assert data != BITMAIN
    _, again = read_content(Content("table", data), convention=127)
    assert again.entries["conv1"].threshold == pytest.approx(table.entries["conv1"].threshold, rel=1e-7)


def test_a_table_of_tpu_mlir_says_its_convention():
    found, table = read_content(Content("table", b"# scale: threshold / 128\na_Relu 6.4 0.0 6.4\n"))
    assert table.entries["a_Relu"].symmetric_scale == pytest.approx(0.05)
    assert (
        found.write(Request(table, 127))
        == b"# scale: threshold / 127\na_Relu 6.3500000 0.0000000 6.3500000\n"
    )


def test_the_range_files_of_onnxruntime_are_read():
    _, table = read_content(Content("table", ORT_FLATBUFFER))
    assert {name: entry.threshold for name, entry in table.entries.items()} == {"conv1": 6, "data": 255}
    _, table = read_content(Content("calibration.cache", b"conv1 6.0\ndata 255.0\n"))
    assert {name: entry.threshold for name, entry in table.entries.items()} == {"conv1": 6, "data": 255}
    _, table = read_content(Content("old.json", b'{"conv1": [-7.5, 6.0], "data": [1.0, 255.0]}'))
    assert (table.entries["conv1"].low, table.entries["data"].low) == (-7.5, 0)
    arrays = b'{"a": {"lowest": {"data": [-1.0], "dtype": "float32", "CLS": "numpy.array"}, "highest": 2.0}}'
    _, table = read_content(Content("new.json", arrays))
    assert (table.entries["a"].low, table.entries["a"].high) == (-1, 2)


def test_the_flatbuffer_is_written_byte_for_byte_as_onnxruntime_does():
    found, table = read_content(Content("table", ORT_FLATBUFFER))
    assert found.write(Request(table, suffix=".flatbuffers")) == ORT_FLATBUFFER
    assert found.write(Request(table, suffix=".cache")) == b"conv1 6.0\ndata 255.0\n"


@pytest.mark.parametrize(
    ("where", "data", "name"),
    [
        ("t", b"a 1.5 \nb 2 \n", "ncnn"),
        ("c.cache", b"a 1.5\n", "ort"),
        ("t", b"a 1.5\nb 2\n", "bitmain-text"),
    ],
)
def test_two_columns_are_told_apart(where, data, name):
    assert recognise(Content(where, data)).name == name


def test_encodings_of_a_mixture_of_versions_are_read_by_their_shape():
    data = b'{"version": "0.6.1", "encodings": [{"name": "a", "output_dtype": "int8", "y_scale": 0.5}]}'
    found, table = read_content(Content("table", data))
    assert found.name == "aimet-2.0"
    assert table.entries["a"].quantizer == (0.5, 128)
    assert "0.6.1" in table.warnings[0]
