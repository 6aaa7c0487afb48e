"""Another tool's table for the quantizers of a network: what fits, what lacks, what is left over."""

from __future__ import annotations

import pytest
from exchange_networks import TABLE, small_file, small_network, unnamed
from networks import write

from distq.errors import FileFormatError
from distq.exchange.formats import Request
from distq.exchange.given import read_given
from distq.exchange.names import with_tensor_names
from distq.exchange.network import describe
from distq.exchange.registry import FORMATS, read_content
from distq.exchange.table import Entry, ExchangeTable, of_quantizer, of_threshold
from distq.exchange.text import Content
from distq.graph.load import load_model
from distq.graph.placement import make_plan
from distq.graph.rows import given_table
from distq.targets import find_target


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return small_file(tmp_path_factory.mktemp("network"))


@pytest.fixture(scope="module")
def plan(model):
    return make_plan(load_model(model).model, find_target("ort"), "auto")


def table_of(tmp_path, name, table=TABLE):
    path = tmp_path / "table"
    found = FORMATS[name]
    path.write_bytes(found.write(Request(table, found.convention or 127, small_network(tmp_path))))
    return path


@pytest.mark.parametrize(
    "name", [n for n in FORMATS if n not in {"distq", "csv", "qtable", "rknn", "ncnn", "amct"}]
)
def test_a_whole_table_of_any_format_gives_every_quantizer(name, model, plan, tmp_path):
    given = read_given(table_of(tmp_path, name), model, plan)
    assert given.missing == ()
    assert not given.own
    rows = given_table(plan, given.rows)
    assert rows["r1"].scale == pytest.approx(6 / 255, rel=1e-6)  # never negative: from 0 up
    stated = {"ort-overrides": 51.0, "aimet-2.0": 51.0}  # of 255 steps: these say scale and zero point alone
    whole = stated.get(name, 50.8)
    assert rows["y"].max - rows["y"].min == pytest.approx(33.4 if rows["y"].max < 9 else whole, rel=1e-6)


@pytest.mark.parametrize("name", ["ort-overrides", "aimet-0.6", "aimet-1.0", "aimet-2.0"])
@pytest.mark.parametrize(("scheme", "range_"), [("auto", (-128, 127)), ("symmetric", (-127, 127))])
def test_a_scale_survives_where_the_code_of_0_is_in_the_middle(name, scheme, range_, model, tmp_path):
    """An asymmetric quantizer has 255 steps, a symmetric one 254."""
    plan = make_plan(load_model(model).model, find_target("ort"), scheme)
    low, high = (end * 0.5 for end in range_)
    entry = Entry(max(-low, high), low, high, scale=0.5, zero_point=128)
    path = table_of(tmp_path, name, ExchangeTable({**TABLE.entries, "x": entry}))
    row = given_table(plan, read_given(path, model, plan).rows)["x"]
    assert (row.scale, row.zero_point) == (0.5, 128)


@pytest.mark.parametrize("name", ["ncnn", "amct"])
def test_what_a_table_of_layer_inputs_lacks_is_said_to_be_missing(name, model, plan, tmp_path):
    given = read_given(table_of(tmp_path, name), model, plan)
    assert set(given.missing) == {"c2", "r2", "y"}
    assert given.rows["x"].threshold == pytest.approx(4 / 3, rel=1e-2)


def test_a_threshold_in_front_of_a_relu_is_that_behind_it(model, plan, tmp_path):
    (tmp_path / "t").write_text("n1_BatchNormalization 6.0 -9.0 6.0\n")
    given = read_given(tmp_path / "t", model, plan)
    assert given_table(plan, {**given.rows, **dict.fromkeys(given.missing, given.rows["r1"])})["r1"].min == 0
    assert given.rows["r1"].threshold == 6


def test_entries_of_nothing_and_of_float_tensors_are_named(model, plan, tmp_path):
    (tmp_path / "t").write_text("x 1 -1 1\nc1_Conv 1 -1 1\nn1_BatchNormalization 1 -1 1\nz_Conv 1 -1 1\n")
    notes = " ".join(read_given(tmp_path / "t", model, plan).notes)
    assert "read as TPU-MLIR's calibration table, its scale = threshold / 127" in notes
    assert "not used of the table, as the model has nothing of these names: z_Conv" in notes
    assert "not used of the table, as they are not quantized: c1" in notes


def test_what_cannot_be_kept_is_said(model, plan, tmp_path):
    wide = ExchangeTable({**TABLE.entries, "r1": of_quantizer(1e-4, 0, 16)}, modes={"c1": "F16"})
    given = read_given(table_of(tmp_path, "aimet-1.0", wide), model, plan)
    notes = " ".join(given.notes)
    assert "16 bits in the table, 8 in this network: r1; --int16-layers keeps them" in notes
    assert "the table's layers in float are not: c1" in notes
    assert "scales of weights are not used" in notes
    assert "r1" in given.wide


def test_thresholds_without_ranges_are_around_zero_and_said_to_be(model, plan, tmp_path):
    table = ExchangeTable({"x": of_threshold(1.0), "r1": of_threshold(2.0)})
    given = read_given(table_of(tmp_path, "tensorrt", table), model, plan)
    assert "the table has no ranges: one around 0 for x" in " ".join(given.notes)


def test_of_two_layers_that_read_one_tensor_the_larger_threshold_counts(model, plan, tmp_path):
    lines = "conv1_param_0 1.0 \nconv1 10.0 \nx 20.0 \n"
    (tmp_path / "t").write_text(lines)
    given = read_given(tmp_path / "t", model, plan)
    assert given.rows["x"].threshold == pytest.approx(12.7)
    assert "several thresholds of one tensor, of which the largest counts: x" in given.notes


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("z 1.0 0.0 1.0\n", "has nothing of the tensors that .* quantizes"),
        ("# op_name   quantize_mode\nr1_Relu F16\n", "has no thresholds"),
    ],
)
def test_a_table_of_another_network_or_without_thresholds_is_refused(text, message, model, plan, tmp_path):
    (tmp_path / "t").write_text(text)
    with pytest.raises(FileFormatError, match=message):
        read_given(tmp_path / "t", model, plan)


@pytest.mark.parametrize("name", ["ncnn", "amct"])
def test_layers_of_nodes_without_names_are_found_again(tmp_path, name):
    """distq's layer is called by what BatchNormalization wrote, the user's node by its own output."""
    network = describe(write(tmp_path, unnamed()))
    table = ExchangeTable({"x": of_quantizer(2 / 127, 128)})
    content = Content("table", FORMATS[name].write(Request(table, 127, network)))
    _, read = read_content(content)
    assert list(read.entries) == ["Conv_1"]
    named = with_tensor_names(read, network)
    assert named.table.entries["x"].threshold == pytest.approx(2, rel=1e-6)
    assert list(named.table.weights) == ["Conv_1"]
    assert not named.surplus
