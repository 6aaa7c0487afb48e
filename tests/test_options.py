"""Options from outside, and the one line that says what is wrong with them."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from distq.config import CalibrateOptions, TuneOptions
from distq.errors import UsageError
from distq.options import make_options, on_command_line

GIVEN = {"model": "m.onnx", "out": "run"}


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"model": "m.onnx"}, "--out is missing: give one"),
        ({"out": "run"}, "MODEL is missing: give one"),
        ({"out": "run", "model": ["a.onnx"]}, "MODEL a.onnx: give one path"),
        ({**GIVEN, "skip_bad": -1}, "--skip-bad -1: input should be greater than or equal to 0"),
        ({**GIVEN, "device": "tpu"}, "--device tpu: input should be cpu, auto, cuda or cuda:N"),
        ({**GIVEN, "sample": 3}, "unknown option sample: did you mean samples?"),
        ({**GIVEN, "tune-sample": 3}, "unknown option tune-sample: did you mean tune_samples?"),
    ],
)
def test_the_error_names_the_option_and_what_it_takes(values, message):
    with pytest.raises(UsageError) as error:
        make_options(TuneOptions, values, on_command_line)
    assert str(error.value) == message


def test_what_is_turned_off_on_the_command_line_is_turned_off_by_the_same_name():
    given = {**GIVEN, "no_bias_correction": True, "no_equalize": True, "no_channel_scales": False}
    options = make_options(TuneOptions, given)
    assert (options.bias_correction, options.equalize, options.channel_scales) == (False, False, True)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"no_equalize": True, "equalize": True}, "no_equalize and equalize are one option: leave out one"),
        ({"no_equalize": "yes"}, "no_equalize is true or false, not 'yes'"),
        ({"no_samples": True}, "unknown option no_samples: did you mean samples?"),
    ],
)
def test_a_switch_is_given_once_and_is_true_or_false(values, message):
    with pytest.raises(UsageError) as error:
        make_options(TuneOptions, {**GIVEN, **values})
    assert str(error.value) == message


def test_a_choice_error_lists_the_choices():
    with pytest.raises(UsageError, match=r"scheme odd: input should be 'auto' or 'symmetric'"):
        make_options(CalibrateOptions, {**GIVEN, "scheme": "odd"})


def test_names_are_split_at_commas():
    assert make_options(TuneOptions, {**GIVEN, "layers": "a, b,,c"}).layers == ("a", "b", "c")


@given(name=st.sampled_from(sorted(TuneOptions.model_fields)), value=st.text() | st.none() | st.floats())
def test_any_value_is_taken_or_refused_in_one_line(name, value):
    try:
        make_options(TuneOptions, {**GIVEN, name: value})
    except UsageError as error:
        assert len(str(error).splitlines()) == 1  # noqa: PT017  # values that are taken raise nothing
        assert name in str(error)  # noqa: PT017  # the same


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("a" * 256, "a name of 256 bytes is longer than the 255 a file system takes: shorten it"),
        ("é" * 128, "a name of 256 bytes is longer"),
        (
            "/".join(["a" * 200] * 30),
            r"a path of 6\d\d\d bytes, over 4000, leaves no room",
        ),
        ("\udcff\udcfe", "its name is no UTF-8: rename it, or give it through a link with another name"),
    ],
)
@pytest.mark.parametrize("option", ["out", "model", "data", "dump_dist"])
def test_a_path_that_no_file_can_have_is_refused_before_anything_is_made(option, name, reason):
    with pytest.raises(UsageError, match=rf"^{option} (?!.*PosixPath).*: {reason}"):
        make_options(TuneOptions, {**GIVEN, option: Path("folder", name)})


def test_a_long_url_is_no_long_name():
    url = f"https://host/list.txt?signature={'a' * 300}"
    assert make_options(TuneOptions, {**GIVEN, "data": url}).data is not None
