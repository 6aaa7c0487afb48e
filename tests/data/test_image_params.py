"""image_params.json becomes steps."""

from __future__ import annotations

import json

import cv2
import numpy as np
import pytest
from data_helpers import picture

from distq.data.preprocess import load_preprocessing
from distq.errors import PreprocessError


def load(tmp_path, content):
    path = tmp_path / "image_params.json"
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    return load_preprocessing(path)


def steps(tmp_path, content):
    return load(tmp_path, content).describe()["inputs"]["*"]["steps"]


def test_every_key(tmp_path):
    content = {
        "size": [240, 320],
        "padding": True,
        "mirror": 1,
        "color_format": "bgr",
        "r_mean": 123.68,
        "g_mean": 116.78,
        "b_mean": 103.94,
        "scale": 0.017,
    }
    assert steps(tmp_path, content) == [
        {"resize": {"height": 240, "width": 320, "letterbox": "center", "pad": 0, "interpolation": "linear"}},
        {"flip": "horizontal"},
        {"color": "bgr"},
        {"mean": [103.94, 116.78, 123.68]},
        {"scale": 0.017},
    ]


def test_the_defaults(tmp_path):
    assert steps(tmp_path, {}) == [
        {"resize": {"height": 256, "width": 256, "interpolation": "linear"}},
        {"color": "rgb"},
        {"mean": [0.0, 0.0, 0.0]},
        {"scale": 1.0},
    ]


@pytest.mark.parametrize(("mirror", "flip"), [(0, "vertical"), (-1, "both")])
def test_mirror_is_opencvs_flip_code(tmp_path, mirror, flip):
    assert {"flip": flip} in steps(tmp_path, {"mirror": mirror})


def test_the_pixels_are_those_of_the_tools_own_recipe(tmp_path):
    content = {"size": [20, 30], "mirror": 1, "r_mean": 10, "g_mean": 20, "b_mean": 30, "scale": 0.5}
    image = picture(50, 40)
    recipe = cv2.flip(cv2.resize(image, (30, 20)), 1)[:, :, ::-1].astype(np.float64)
    recipe = ((recipe - [10, 20, 30]) * 0.5).transpose(2, 0, 1)
    got = load(tmp_path, content).for_input("data").apply(image)
    np.testing.assert_array_equal(got[0], recipe)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ({"sise": [1, 1]}, "unknown key 'sise', did you mean 'size'"),
        ({"size": [1]}, "size"),
        ({"mirror": 2}, "mirror"),
        ({"color_format": "yuv"}, "color_format: Input should be 'rgb' or 'bgr'"),
        ({"scale": "fast"}, "scale"),
        ("{", "is not valid json"),
        ("[]", "image_params.json"),
    ],
)
def test_a_wrong_file_is_named(tmp_path, content, reason):
    with pytest.raises(PreprocessError, match=reason) as caught:
        load(tmp_path, content)
    assert "image_params.json" in str(caught.value)
