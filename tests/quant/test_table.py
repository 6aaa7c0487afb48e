import csv
import io
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from distq.errors import FileFormatError
from distq.quant.scheme import Encoding
from distq.quant.table import Row, dump_table, read_table, table_csv

GOLDEN = """{
 "format": "distq-thresholds-1",
 "tensors": {
  "a": {
   "threshold": 0.1,
   "min": -0.1,
   "max": 0.1,
   "observed_min": -3.5,
   "observed_max": 2.0,
   "bits": 8,
   "signed": true,
   "scale": 0.0007874015718698502,
   "zero_point": 0,
   "convention": "127",
   "method": "kl",
   "tied_to": null
  },
  "b": {
   "threshold": 2.0,
   "min": 0.0,
   "max": 2.0,
   "observed_min": 0.0,
   "observed_max": 2.5,
   "bits": 16,
   "signed": false,
   "scale": 3.0518044e-05,
   "zero_point": 0,
   "convention": "65535",
   "method": "max",
   "tied_to": "a"
  }
 }
}
"""
ROWS = {
    "b": Row(2.0, 0.0, 2.0, 0.0, 2.5, 16, signed=False, scale=3.0518044e-05, zero_point=0,
             convention="65535", method="max", tied_to="a"),
    "a": Row(0.1, -0.1, 0.1, -3.5, 2.0, 8, signed=True, scale=0.0007874015718698502, zero_point=0,
             convention="127", method="kl"),
}  # fmt: skip

floats = st.floats(-1e30, 1e30)
positive = st.floats(1e-30, 1e30)
rows = st.builds(
    Row,
    threshold=positive,
    min=floats,
    max=floats,
    observed_min=floats,
    observed_max=floats,
    bits=st.sampled_from([8, 16]),
    signed=st.booleans(),
    scale=positive,
    zero_point=st.integers(0, 255),
    convention=st.sampled_from(["127", "255"]),
    method=st.text(),
    tied_to=st.none() | st.text(),
)


@pytest.fixture
def path(tmp_path):
    return tmp_path / "thresholds.json"


def damaged(path, content, *wanted):
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(FileFormatError) as caught:
        read_table(path)
    text = str(caught.value)
    assert str(path) in text
    assert "\n" not in text
    assert all(word in text for word in wanted)


def test_the_file_is_written_as_agreed_sorted_by_tensor():
    assert dump_table(ROWS).decode() == GOLDEN


def test_a_spreadsheet_has_a_line_a_tensor():
    lines = list(csv.DictReader(io.StringIO(table_csv({**ROWS, 'c,"d': ROWS["a"]}).decode())))
    assert [line["tensor"] for line in lines] == ["a", "b", 'c,"d']
    assert lines[0]["observed_min"] == "-3.5"
    assert float(lines[0]["scale"]) == ROWS["a"].scale
    assert (lines[0]["tied_to"], lines[1]["tied_to"]) == ("", "a")


def test_the_agreed_file_is_read(path):
    path.write_text(GOLDEN)
    assert read_table(path) == ROWS


@given(table=st.dictionaries(st.text(), rows, max_size=4))
def test_every_number_comes_back_to_the_last_bit(tmp_path_factory, table):
    path = tmp_path_factory.getbasetemp() / "any.json"
    path.write_bytes(dump_table(table))
    assert read_table(path) == table
    assert dump_table(read_table(path)) == path.read_bytes()


def test_a_row_is_a_quantizer_and_knows_the_largest_magnitude():
    assert ROWS["a"].encoding == Encoding(0.0007874015718698502, 0, 8, signed=True)
    assert ROWS["a"].absmax == 3.5


@pytest.mark.parametrize(
    "content", ["", "{", "not json", b"\xff\xfe\x00", "[]", "null", "3", "{}", '{"format": "other"}']
)
def test_a_file_of_something_else_is_refused(path, content):
    damaged(path, content, "table")


def test_a_missing_file_or_a_folder_is_named(path):
    for place, reason in ((path, "No such file"), (path.parent, "it is a folder")):
        with pytest.raises(FileFormatError, match=reason):
            read_table(place)


@pytest.mark.parametrize("tensors", [None, [], "x"])
def test_a_table_without_tensors_is_refused(path, tensors):
    damaged(path, json.dumps({"format": "distq-thresholds-1", "tensors": tensors}), "tensors")


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("threshold", 0),
        ("threshold", -1.0),
        ("threshold", float("nan")),
        ("threshold", "1.0"),
        ("threshold", None),
        ("min", float("-inf")),
        ("observed_max", float("inf")),
        ("scale", 0.0),
        ("scale", []),
        ("bits", 4),
        ("bits", "8"),
        ("surplus", 1),
    ],
)
def test_a_wrong_value_names_the_tensor(path, field, value):
    content = json.loads(GOLDEN)
    content["tensors"]["b"][field] = value
    damaged(path, json.dumps(content), "b")


@pytest.mark.parametrize("field", ["threshold", "scale", "zero_point", "bits", "method"])
def test_a_missing_field_is_named(path, field):
    content = json.loads(GOLDEN)
    del content["tensors"]["b"][field]
    damaged(path, json.dumps(content), "b", field)


def test_a_row_that_is_no_mapping_is_refused(path):
    damaged(path, json.dumps({"format": "distq-thresholds-1", "tensors": {"b": [1]}}), "b")


@given(size=st.integers(0, len(GOLDEN) - 2))
def test_a_table_cut_off_anywhere_is_refused(tmp_path_factory, size):
    damaged(tmp_path_factory.getbasetemp() / "cut.json", GOLDEN[:size])
