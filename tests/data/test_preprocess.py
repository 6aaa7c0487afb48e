"""Preprocessing files."""

from __future__ import annotations

import json
import pickle  # noqa: TID251  # the test shows that workers get the same object; nothing foreign is read

import numpy as np
import pytest
import yaml
from data_helpers import picture
from hypothesis import given
from hypothesis import strategies as st

from distq.data.preprocess import Preprocessing, default_steps, load_preprocessing
from distq.errors import PreprocessError

CONTRACT = """
inputs:
  "*":
    steps:
      - resize: {shorter_side: 256}
      - center_crop: {height: 224, width: 224}
      - color: rgb
      - scale: 0.00392156862745098
      - mean: [0.485, 0.456, 0.406]
      - std: [0.229, 0.224, 0.225]
    layout: nchw
"""


def load(tmp_path, text, name="p.yaml"):
    (tmp_path / name).write_text(text)
    return load_preprocessing(tmp_path / name)


def test_no_file_is_none():
    assert load_preprocessing(None) is None


def test_the_contracts_file(tmp_path):
    preprocessing = load(tmp_path, CONTRACT)
    array = preprocessing.for_input("anything").apply(picture(300, 400))
    assert (array.shape, array.dtype) == ((1, 3, 224, 224), np.float32)
    assert preprocessing.describe() == {
        "inputs": {
            "*": {
                "layout": "nchw",
                "steps": [
                    {"resize": {"shorter_side": 256, "interpolation": "linear"}},
                    {"center_crop": {"height": 224, "width": 224}},
                    {"color": "rgb"},
                    {"scale": 0.00392156862745098},
                    {"mean": [0.485, 0.456, 0.406]},
                    {"std": [0.229, 0.224, 0.225]},
                ],
            }
        }
    }
    assert preprocessing.sha256 == "8c0636e6893f02e2c06076540b3c8c53edc55fb80dc33f6b417f2c8c8c2d3467"


def test_spelling_and_defaults_do_not_change_the_hash(tmp_path):
    one = load(tmp_path, "inputs: {a: {steps: [resize: {height: 2, width: 3, letterbox: center}]}, b: {}}")
    other = load(
        tmp_path,
        "inputs:\n  b: {layout: nchw, steps: []}\n  a:\n    steps:\n      - resize:\n"
        "          {width: 3, pad: 114, height: 2, letterbox: center, interpolation: linear}\n",
    )
    assert one.sha256 == other.sha256
    third = load(tmp_path, "inputs: {a: {steps: [resize: {height: 2, width: 3, letterbox: center}]}, c: {}}")
    assert one.sha256 != third.sha256


def test_a_named_input_goes_before_the_star(tmp_path):
    preprocessing = load(tmp_path, "inputs: {'*': {layout: nhwc}, a: {steps: [color: gray]}}")
    assert preprocessing.for_input("a").apply(picture(2, 3)).shape == (1, 1, 2, 3)
    assert preprocessing.for_input("b").apply(picture(2, 3)).shape == (1, 2, 3, 3)


def test_inputs_are_checked_against_the_model(tmp_path):
    preprocessing = load(tmp_path, "inputs: {imaeg: {}, '*': {}}")
    with pytest.raises(PreprocessError, match="unknown model input 'imaeg', did you mean 'image'"):
        preprocessing.check_inputs(["image", "mask"])
    with pytest.raises(PreprocessError, match="no steps for input 'b'"):
        load(tmp_path, "inputs: {a: {}}").for_input("b")


def test_without_arithmetic_the_pixels_stay_uint8(tmp_path):
    steps = load(tmp_path, "inputs: {'*': {steps: [color: rgb]}}").for_input("x")
    assert steps.apply(picture(2, 2)).dtype == np.uint8


def test_without_a_file_an_image_is_rgb_or_gray():
    image = picture(3, 4)
    np.testing.assert_array_equal(default_steps(3).apply(image)[0], image[:, :, ::-1].transpose(2, 0, 1))
    assert default_steps(1).apply(image).shape == (1, 1, 3, 4)
    assert default_steps(None).apply(image).shape == (1, 3, 3, 4)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "empty or no mapping"),
        ("- a", "empty or no mapping"),
        ("inputs: {}", "at least 1 item"),
        ("input: {'*': {}}", "unknown key 'input', did you mean 'inputs'"),
        ("inputs: {'*': {step: []}}", r"inputs\.\*: unknown key 'step', did you mean 'steps'"),
        ("inputs: {'*': {layout: hwc}}", r"inputs\.\*\.layout: Input should be 'nchw' or 'nhwc'"),
        ("inputs: {'*': {steps: [crop: 3]}}", r"inputs\.\*\.steps\.0: unknown step 'crop'"),
        ("inputs: {'*': {steps: [{scale: 2, std: 3}]}}", "one 'name: value'"),
        ("inputs: {'*': {steps: [scale: 2, resize: {shorter_side: 3}]}}", "resize acts on uint8"),
        ("inputs: {'*': {steps: [color: rgb", "is not valid yaml"),
        ("!!python/object/apply:os.system ['false']", "is not valid yaml"),
        ("inputs: \x00", "is not valid yaml"),
    ],
)
def test_a_wrong_file_is_named_in_one_line(tmp_path, text, reason):
    with pytest.raises(PreprocessError, match=reason) as caught:
        load(tmp_path, text)
    assert "p.yaml" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_missing_file_and_an_unknown_kind_are_named(tmp_path):
    with pytest.raises(PreprocessError, match=r"none\.yaml cannot be read: No such file"):
        load_preprocessing(tmp_path / "none.yaml")
    with pytest.raises(PreprocessError, match=r"p\.toml has another ending: give a \.yaml"):
        load(tmp_path, "", "p.toml")


LENGTHS = st.integers(1, 500)
NUMBERS = st.floats(-1e3, 1e3).filter(bool)
STEPS = st.one_of(
    st.fixed_dictionaries({"resize": st.fixed_dictionaries({"shorter_side": LENGTHS})}),
    st.fixed_dictionaries(
        {
            "resize": st.fixed_dictionaries(
                {"height": LENGTHS, "width": LENGTHS, "letterbox": st.sampled_from(["top_left", "center"])},
                optional={"pad": st.integers(0, 255), "interpolation": st.sampled_from(["area", "cubic"])},
            )
        }
    ),
    st.fixed_dictionaries({"center_crop": st.fixed_dictionaries({"height": LENGTHS, "width": LENGTHS})}),
    st.fixed_dictionaries({"color": st.sampled_from(["bgr", "rgb", "gray"])}),
    st.fixed_dictionaries({"center_crop": st.fixed_dictionaries({"fraction": st.floats(0.1, 1)})}),
    st.just({"resize": {"height": 8, "width": 9, "cover": True, "rounding": "floor"}}),
    st.just({"resize": {"height": 8, "width": 9, "letterbox": "center", "pad": [1, 2, 3]}}),
    st.just({"resize": {"height": 8, "width": 9, "letterbox": "center", "pad_mode": "reflect"}}),
    st.just({"transpose": True}),
    st.fixed_dictionaries({"flip": st.sampled_from(["horizontal", "vertical", "both"])}),
)
ARITHMETIC = st.one_of(
    st.fixed_dictionaries({"scale": NUMBERS}),
    st.fixed_dictionaries({"mean": st.lists(NUMBERS, min_size=1, max_size=3)}),
    st.just({"standardize": True}),
    st.fixed_dictionaries({"std": st.lists(NUMBERS, min_size=1, max_size=3)}),
)


@given(st.lists(STEPS, max_size=4), st.lists(ARITHMETIC, max_size=3), st.sampled_from(["nchw", "nhwc"]))
def test_a_description_is_a_file_that_means_the_same(steps, arithmetic, layout):
    content = {"inputs": {"*": {"steps": steps + arithmetic, "layout": layout}}}
    preprocessing = Preprocessing.model_validate(content)
    again = Preprocessing.model_validate(yaml.safe_load(json.dumps(preprocessing.describe())))
    assert again == preprocessing
    assert again.describe() == preprocessing.describe()
    assert hash(again) == hash(preprocessing)
    travelled = pickle.loads(pickle.dumps(preprocessing))  # noqa: S301  # our own bytes
    assert travelled == preprocessing
    assert travelled.sha256 == preprocessing.sha256
