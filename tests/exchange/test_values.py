"""Whatever the values are, what a format writes it reads again as the same quantizers."""

from __future__ import annotations

import pytest
from exchange_networks import small_network
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from distq.exchange.formats import Request
from distq.exchange.names import with_tensor_names
from distq.exchange.registry import FORMATS
from distq.exchange.table import (
    ExchangeTable,
    converted_threshold,
    entry_of_row,
    of_quantizer,
    of_threshold,
    row_of_entry,
    with_range,
)
from distq.exchange.text import Content

SCALES = st.floats(2.0**-12, 2.0**20, width=32)
BY_SCALE = ("tensorrt", "ppq", "bitmain", "bitmain-prototxt", "bitmain-text", "amct")
BY_RANGE = ("ort", "sigmastar")
BY_QUANTIZER = ("ort-overrides", "aimet-0.6", "aimet-1.0", "aimet-2.0", "distq", "csv")


@pytest.fixture(scope="module")
def network(tmp_path_factory):
    return small_network(tmp_path_factory.mktemp("network"))


def again(name, table, network, convention=None):
    """The table as a format writes and reads it, under the network's names."""
    found = FORMATS[name]
    convention = convention or found.convention or 127
    data = found.write(Request(table, convention, network))
    return with_tensor_names(found.read(Content("table", data), convention), network).table


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(scale=SCALES, convention=st.sampled_from([127, 128]))
@pytest.mark.parametrize("name", BY_SCALE)
def test_scales_of_symmetric_quantizers(name, network, scale, convention):
    table = ExchangeTable({"x": of_threshold(scale * 127), "r1": of_threshold(scale)})
    entries = again(name, table, network, convention).entries
    assert entries["x"].symmetric_scale == pytest.approx(scale, rel=2e-7)
    assert entries["r1"].threshold == pytest.approx(scale, rel=2e-7)


@settings(max_examples=25, deadline=None)
@given(scale=SCALES, zero_point=st.integers(0, 255))
@pytest.mark.parametrize("name", BY_QUANTIZER)
def test_scales_and_zero_points(name, network, scale, zero_point):
    given_entry = of_quantizer(scale, zero_point)
    found = again(name, ExchangeTable({"x": given_entry}), network).entries["x"]
    assert found.quantizer == pytest.approx((scale, zero_point), rel=1e-7)
    least = 1 / 127 if zero_point == 128 else 1e-7  # whether the least code is used is not said by all
    assert found.threshold == pytest.approx(given_entry.threshold, rel=least)


@settings(max_examples=25, deadline=None)
@given(low=st.floats(-1e6, 0, width=32), high=st.floats(0, 1e6, width=32))
@pytest.mark.parametrize("name", BY_RANGE)
def test_ranges(name, network, low, high):
    threshold = max(-low, high)
    if threshold < 1e-6:
        return
    found = again(name, ExchangeTable({"x": with_range(threshold, low, high)}), network).entries["x"]
    assert (found.low, found.high) == (low, high)


@settings(max_examples=50, deadline=None)
@given(threshold=st.floats(2.0**-7, 1e6, width=32), share=st.floats(0, 1))
def test_thresholds_of_tpu_mlir_to_seven_digits(network, threshold, share):
    entry = with_range(threshold, -threshold * share, threshold)
    found = again("tpu-mlir", ExchangeTable({"x": entry}), network).entries["x"]
    assert found.threshold == pytest.approx(threshold, abs=1e-7)
    assert found.low == pytest.approx(entry.low, abs=1e-7)


@settings(max_examples=50, deadline=None)
@given(scale=st.floats(2.0**-13, 1e3, width=32))
def test_scales_of_ncnn_to_six_digits(network, scale):
    found = again("ncnn", ExchangeTable({"x": of_threshold(scale * 127)}), network).entries["x"]
    assert 1 / found.symmetric_scale == pytest.approx(1 / scale, abs=1e-6)


@given(threshold=st.floats(1e-30, 1e30), bits=st.sampled_from([8, 16]))
def test_a_convention_there_and_back(threshold, bits):
    there = converted_threshold(threshold, 127, 128, bits)
    assert there > threshold
    assert converted_threshold(there, 128, 127, bits) == pytest.approx(threshold, rel=1e-15)


@given(scale=st.floats(2.0**-30, 2.0**30, width=32), zero_point=st.integers(0, 255))
def test_a_row_of_an_entry_is_that_entry(scale, zero_point):
    entry = of_quantizer(scale, zero_point)
    again_entry = entry_of_row(row_of_entry(entry, "given"))
    assert again_entry.quantizer == entry.quantizer
    assert (again_entry.low, again_entry.high) == pytest.approx((entry.low, entry.high))


@given(threshold=st.floats(1e-6, 1e6), low=st.floats(-1e7, 1e7), high=st.floats(-1e7, 1e7))
def test_a_range_reaches_its_threshold_and_no_further(threshold, low, high):
    entry = with_range(threshold, low, high)
    assert entry.low <= 0 <= entry.high
    assert max(-entry.low, entry.high) == threshold
