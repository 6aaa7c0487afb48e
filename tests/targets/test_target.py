"""Facts of targets, and how they are found by name."""

from __future__ import annotations

import pytest

from distq.config import CalibrateOptions
from distq.errors import UsageError
from distq.options import make_options
from distq.targets import TARGETS, find_target
from distq.targets.target import Target


def test_a_target_is_found_by_the_name_it_has():
    assert {find_target(name).name for name in TARGETS} == {"ort", "openvino", "tensorrt"}


def test_an_unknown_name_is_answered_with_the_known_ones():
    with pytest.raises(UsageError, match="no target gpu: choose one of ort, openvino, tensorrt"):
        find_target("gpu")


@pytest.mark.parametrize("value", ["gpu", 5, None, ["ort"]])
def test_options_take_no_other_name(value):
    with pytest.raises(UsageError, match=r"input should be 'ort', 'openvino' or 'tensorrt'$"):
        make_options(CalibrateOptions, {"model": "m", "out": "o", "target": value})


def test_options_take_a_target_that_was_added(add):
    name = add(Target("npu", "everywhere"))
    assert make_options(CalibrateOptions, {"model": "m", "out": "o", "target": name}).target == "npu"
    with pytest.raises(UsageError, match="'tensorrt' or 'npu'"):
        make_options(CalibrateOptions, {"model": "m", "out": "o", "target": "gpu"})


def test_a_scheme_that_a_target_does_not_take_gives_way_to_its_first():
    assert Target("npu", "everywhere", schemes=("symmetric",)).scheme("auto") == "symmetric"
    assert Target("npu", "everywhere").scheme("auto") == "auto"
    assert Target("npu", "everywhere", schemes=("auto",)).scheme("symmetric") == "auto"


@pytest.mark.parametrize(
    ("facts", "message"),
    [
        ({"layers": frozenset({"Conv", "LSTM"})}, "npu lists LSTM"),
        ({"kernels": frozenset({"Sub"})}, "npu lists Sub"),
        ({"layers": frozenset()}, "no layers"),
        ({"schemes": ()}, "no layers or no schemes"),
        ({"activation_bits": (4,)}, "4"),
        ({"placement": "layer inputs", "absorbs_saturation": True}, "absorbs saturation"),
    ],
)
def test_facts_that_contradict_each_other_are_refused(facts, message):
    with pytest.raises(UsageError, match=message):
        Target(**{"name": "npu", "placement": "everywhere", **facts})


def test_16_bits_are_refused_by_name_where_there_are_none():
    with pytest.raises(UsageError, match="--target npu has no 16-bit activations"):
        Target("npu", "everywhere").require_16_bits()
    Target("npu", "everywhere", activation_bits=(8, 16)).require_16_bits()
