"""Sloppy and hostile files: refused in one line that names file, line or tensor, or read with a warning."""

from __future__ import annotations

import json
import struct

import pytest
from goldens import AIMET_1, AIMET_2, AMCT, BITMAIN, BITMAIN_PROTOTXT, ORT_FLATBUFFER, RKNN, SAID, TENSORRT

from distq.errors import FileFormatError
from distq.exchange.formats import Request
from distq.exchange.registry import read_content
from distq.exchange.table import is_usable
from distq.exchange.text import LARGEST, Content, load_content

HEAD = b"# op_name    threshold    min    max\n"


def read(data, name=None):
    return read_content(Content("T", data), name)[1]


BAD = {
    "blank name": (HEAD + b"a b 1.0 0.0 1.0\n", "line 2: has 5 fields"),
    "nan": (HEAD + b"a nan 0.0 1.0\n", "line 2: threshold is nan, which is no finite number"),
    "inf": (HEAD + b"a inf 0.0 1.0\n", "line 2: threshold is inf"),
    "overflow": (HEAD + b"a 1e999 0.0 1.0\n", "line 2: threshold is 1e999"),
    "negative": (HEAD + b"a 1.0 0.0 1.0\nb -1.0 0.0 1.0\n", "line 3: threshold is -1.0; it has to be"),
    "zero": (HEAD + b"a 0.0 0.0 1.0\n", "line 2: threshold is 0.0"),
    "min above max": (HEAD + b"a 1.0 2.0 1.0\n", "line 2: min 2.0 is above max 1.0"),
    "twice": (HEAD + b"a 1.0 0.0 1.0\na 2.0 0.0 2.0\n", "line 3: a came before with another value"),
    "fp8": (HEAD + b"a 1.0 0.0 1.0\n#tpu-mlir-fp8\n", "line 3: is a table for FP8"),
    "weights": (HEAD + b"a 1.0 0.0 1.0\n#weight_scale\nw 3 1.0 2.0\n", "line 4: says 3 scales and has 2"),
    "mode": (b"# op_name   quantize_mode\na F12\n", "line 2: F12 is no mode"),
    "trt header": (b"TRT-x-Entropy\na: 3c010204\n", "line 1: TRT-x-Entropy is no header"),
    "trt digits": (TENSORRT + b"z: 3c0102\n", "line 5: the scale of z is 3c0102; it is 8 hex digits"),
    "trt reversed": (TENSORRT + b"z: 0402013c\n", "line 5: .*may be in reverse order"),
    "trt nan": (TENSORRT + b"z: 7fc00000\n", "line 5: the scale of z is nan"),
    "trt colon": (TENSORRT + b"z 3c010204\n", "line 5: is no 'tensor: hhhhhhhh'"),
    "ncnn number": (b"c_param_0 1.0 x \nc 1.0 \n", "line 1: a scale is x"),
    "ncnn scales": (b"c_param_0 1.0 \nc 1.0 2.0 \n", "line 2: c has 2 scales"),
    "two columns": (b"a 1.0\nb 2.0 3.0\n", "not a threshold table"),
    "cut pb2": (BITMAIN[:-4], "cut off"),
    "pb2 without field": (b"\x0a\x03net\xa2\x06\x02\x18\x01", "cut off|lacks a field"),
    "prototxt": (BITMAIN_PROTOTXT + b"layer { nam: 1 }", 'line 20: .*no field named "nam"'),
    "prototxt threshold": (BITMAIN_PROTOTXT.replace(b"17.25", b"-1"), "the threshold of fc is -1"),
    "flatbuffer": (ORT_FLATBUFFER[:60], "cut off"),
    "record": (AMCT.replace(b"0.0235294", b"1e9"), "a scale of conv1 is 1e\\+09; AMCT takes"),
    "record offset": (AMCT.replace(b"-128", b"-129"), "offset_d of conv1 is -129"),
    "record text": (AMCT.replace(b"scale_w: 0.01", b"scale_w: x"), "line 6: "),
    "json": (b'{"a": [1, 2}', "line 1: "),
    "json twice": (b'{"act_quant_info": {"a": 1, "a": 2}}', "a occurs twice in one object"),
    "json deep": (b"[" * 100000, "cannot be read as JSON|not a threshold table"),
    "json nan": (b'{"act_quant_info": {"a": NaN}}', "the range of a is nan"),
    "json huge": (b'{"act_quant_info": {"a": 1' + b"0" * 400 + b"}}", "no finite number"),
    "json text": (b'{"act_quant_info": {"a": "x"}}', "the range of a is x"),
    "overrides": (b'{"a": [{"quant_type": "QInt4", "scale": 1, "zero_point": 0}]}', "of a is QInt4"),
    "overrides half": (b'{"a": [{"quant_type": "QInt8", "scale": 1}]}', "one of scale and zero_point"),
    "ort range": (b'{"a": [2.0, 1.0]}', "the range of a is from 2 to 1"),
    "sigmastar": (b'[{"name": "a", "min": [1], "max": [0], "bit": 8}]', "the range of a is from 1 to 0"),
    "sigmastar bits": (b'[{"name": "a", "min": [0], "max": [1], "bit": 7}]', "bit of a is 7"),
    "sigmastar lists": (b'[{"name": "a", "min": [], "max": [1], "bit": 8}]', "a has 0 min and 1 max"),
    "aimet scale": (AIMET_1.replace(b"0.0472441", b"-1.0"), "the scale of conv1 is -1.0"),
    "aimet offset": (AIMET_1.replace(b"-128\n", b"5\n", 1), "offset of conv1 is 5"),
    "aimet zero point": (AIMET_2.replace(b'point": 128', b'point": 300'), "y_zero_point of data"),
    "aimet type": (AIMET_2.replace(b'"uint8"', b'"float8e4m3fn"'), "output_dtype"),
    "aimet block": (AIMET_2.replace(b'"axis": 0', b'"axis": 0, "block_size": 4'), "is by block"),
    "rknn": (RKNN.replace(b"-   6.0", b"-   x"), "a range of r1 is x"),
    "rknn channels": (RKNN.replace(b"-   6.0", b"-   6.0\n        -   7.0"), "a range of r1 has 2 numbers"),
    "rknn yaml": (RKNN + b"  [", "is no YAML: line"),
    "csv cells": (b"tensor,threshold\na,1.0,2.0\n", "line 2: has another number of cells"),
    "csv number": (b"tensor,threshold\na,x\n", "line 2: threshold is x"),
    "csv columns": (b"tensor,bits\na,8\n", "line 1: needs a column tensor, and threshold or min"),
    "csv rows": (b"tensor,threshold\n", "has no row under its header"),
    "csv text": (b"tensor,threshold\ra,1.0\r", "is no CSV"),
    "pickle": (b"\x80\x04\x95", "is a pickle.*JSON"),
    "binary": (bytes(range(256)), "not a threshold table"),
    "prose": (b"once upon a time\nthere was a tensor\n", "not a threshold table"),
}  # fmt: skip


@pytest.mark.parametrize("case", BAD)
def test_what_is_wrong_is_named(case):
    data, message = BAD[case]
    with pytest.raises(FileFormatError, match=message) as caught:
        read(data)
    assert "\n" not in str(caught.value)
    assert str(caught.value).startswith("T")


@pytest.mark.parametrize("name", SAID)
def test_a_file_cut_anywhere_is_read_or_refused(name):
    data = SAID[name][0]
    for length in range(0, len(data), max(1, len(data) // 60)):
        try:
            table = read(data[:length], name)
        except FileFormatError:
            continue
        assert all(is_usable(entry.threshold) for entry in table.entries.values())


def test_tabs_capital_e_and_plus_are_read_and_said():
    table = read(HEAD + b"a\t1.5E+0\t-1e-1\t+1.5\n")
    assert table.entries["a"].threshold == 1.5
    assert table.entries["a"].low == -0.1
    assert table.warnings == (
        "line 2: TPU-MLIR passes over numbers with '+' or a capital E, distq reads them",
    )


def test_a_comment_that_tpu_mlir_takes_for_a_block_is_none():
    table = read(b"# mlir: yolo_int4_op.mlir\n" + HEAD + b"a 1.0 0.0 1.0\n")
    assert list(table.entries) == ["a"]
    assert "line 1: TPU-MLIR takes this comment for the beginning of a block" in table.warnings[0]


@pytest.mark.parametrize(
    "data",
    [
        b'{"a": [0.0, 0.0], "b": [0.0, 1.0]}',
        b'[{"name": "a", "min": [0], "max": [0]}, {"name": "b", "min": [0], "max": [1]}]',
        b"TRT-8502-EntropyCalibration2\na: 00000000\nb: 3c010204\n",
        RKNN.replace(b"-   6.0", b"-   0.0").replace(b"r1", b"a"),
    ],
)
def test_a_tensor_that_is_always_zero_is_passed_over_and_named(data):
    table = read(data)
    assert "a" not in table.entries
    assert table.warnings == ("tensors without a range, always 0, are passed over: a",)


def test_an_entry_that_comes_twice_alike_counts_once():
    assert list(read(HEAD + b"a 1.0 0.0 1.0\na 1.0 0.0 1.0\n").entries) == ["a"]


def test_unknown_fields_of_later_bitmain_tables_are_kept():
    later = BITMAIN + struct.pack("BBB", 0xF8, 0x07, 5)  # field 127 of the net
    found, table = read_content(Content("T", later))
    assert found.write(Request(table, 128)) == later


def test_a_huge_file_is_refused_before_it_is_read(tmp_path):
    path = tmp_path / "huge"
    with path.open("wb") as stream:
        stream.truncate(LARGEST + 1)
    with pytest.raises(FileFormatError, match="has over 64 MiB"):
        load_content(path)


def test_an_empty_file_is_refused(tmp_path):
    (tmp_path / "empty").write_bytes(b"\n")
    with pytest.raises(FileFormatError, match="empty"):
        load_content(tmp_path / "empty")


def test_a_million_aliases_of_a_yaml_are_refused():
    laughs = b"a0: &a0 [x, x, x, x, x, x, x, x, x]\n" + b"".join(
        b"a%d: &a%d [%s]\n" % (n, n, b", ".join([b"*a%d" % (n - 1)] * 9)) for n in range(1, 9)
    )
    with pytest.raises(FileFormatError, match="aliases"):
        read(laughs + b"quantize_parameters:\n    a: *a8\n", "rknn")


def test_many_tensors_are_read_quickly():
    data = json.dumps({"act_quant_info": {f"t{i}": 1.0 + i for i in range(20000)}}).encode()
    assert len(read(data).entries) == 20000
