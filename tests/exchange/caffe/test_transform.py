"""transform_param as steps of a preprocessing file."""

from __future__ import annotations

from pathlib import Path

import pytest

from distq.errors import PreprocessError
from distq.exchange.caffe.prototxt import parse_prototxt
from distq.exchange.caffe.transform import read_transform

FIT_AND_PAD = "resize_param {{ resize_mode: FIT_LARGE_SIZE_AND_PAD height: 3 width: 4 {} }}"


def transform(text):
    layer = parse_prototxt(f"layer {{ transform_param {{ {text} }} }}", Path("net.prototxt")).net.layer[0]
    return read_transform(layer.transform_param, "layer 'data'", lambda name: f"/nets/{name}")


@pytest.mark.parametrize(
    ("text", "steps"),
    [
        ("", []),
        ("scale: 0.00392156862745", [{"scale": 0.003921569}]),
        ("scale: 1", []),
        ("mean_value: 127.5 scale: 0.0078125", [{"mean": [127.5]}, {"scale": 0.0078125}]),
        (
            "scale: 0.017 mean_value: 103.94 mean_value: 116.78 mean_value: 123.68 crop_size: 224",
            [
                {"center_crop": {"height": 224, "width": 224}},
                {"mean": [103.94, 116.78, 123.68]},
                {"scale": 0.017},
            ],
        ),
        (
            "crop_size: 227 mean_file: 'mean.binaryproto'",
            [{"mean_file": "/nets/mean.binaryproto"}, {"center_crop": {"height": 227, "width": 227}}],
        ),
        ("crop_h: 5 crop_w: 7", [{"center_crop": {"height": 5, "width": 7}}]),
        ("resize: 256", [{"resize": {"shorter_side": 256}}]),
        ("resize: 20 resize: 30", [{"resize": {"height": 20, "width": 30}}]),
        (
            "standardization: true crop_fraction: 0.875",
            [{"center_crop": {"fraction": 0.875}}, {"standardize": True}],
        ),
        ("resize_param { height: 3 width: 4 prob: 1 }", [{"resize": {"height": 3, "width": 4}}]),
        (
            "resize_param { resize_mode: FIT_SMALL_SIZE height: 3 width: 4 interp_mode: CUBIC }",
            [
                {
                    "resize": {
                        "height": 3,
                        "width": 4,
                        "cover": True,
                        "rounding": "floor",
                        "interpolation": "cubic",
                    }
                }
            ],
        ),
        (
            FIT_AND_PAD.format("pad_mode: MIRRORED pad_value: 104.5 pad_value: 300 pad_value: 0"),
            [
                {
                    "resize": {
                        "height": 3,
                        "width": 4,
                        "letterbox": "center",
                        "rounding": "floor",
                        "pad": [104, 255, 0],
                        "pad_mode": "reflect",
                    }
                }
            ],
        ),
        (
            FIT_AND_PAD.format("pad_mode: REPEAT_NEAREST pad_value: -inf"),
            [
                {
                    "resize": {
                        "height": 3,
                        "width": 4,
                        "letterbox": "center",
                        "rounding": "floor",
                        "pad": 0,
                        "pad_mode": "replicate",
                    }
                }
            ],
        ),
    ],
)
def test_the_fixed_order(text, steps):
    found = transform(text)
    assert (found.steps, found.notes, found.gray) == (steps, [], None)


def test_operations_keep_their_order():
    found = transform(
        "transform_op { op: CROP crop_h: 300 crop_w: 200 padding: 7 }"
        "transform_op { op: RESIZE resize_side: 256 } transform_op { op: CROP crop_fraction: 0.5 }"
        "transform_op { op: RESIZE resize_h: 20 resize_w: 30 } transform_op { op: NONE }"
        "transform_op { op: STAND mean_value: 127.5 scale: 0.5 div: 2 bgr2rgb: true }"
    )
    assert found.steps == [
        {"center_crop": {"height": 300, "width": 200, "pad": 7}},
        {"resize": {"shorter_side": 256}},
        {"center_crop": {"fraction": 0.5}},
        {"resize": {"height": 20, "width": 30}},
        {"color": "rgb"},
        {"mean": [127.5]},
        {"scale": 0.5},
        {"std": [2]},
    ]
    assert found.notes == []


def test_the_order_of_unequal_means_is_said():
    found = transform("transform_op { op: STAND mean_value: [1, 2, 3] bgr2rgb: true }")
    assert found.steps == [{"color": "rgb"}, {"mean": [1, 2, 3]}]
    assert found.notes == [
        "layer 'data': transform_op STAND: mean_value is taken in the order after bgr2rgb, red first"
    ]


def test_a_random_mirror_is_left_out_and_said():
    found = transform("mirror: true")
    assert found.steps == []
    assert "mirror is left out: it turns half of the images at random" in found.notes[0]


@pytest.mark.parametrize(("text", "gray"), [("force_color: true", False), ("force_gray: true", True)])
def test_decoding_may_be_forced(text, gray):
    assert transform(text).gray is gray


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("noise_param { prob: 1 }", "noise_param adds noise at random, so that thresholds would differ"),
        ("distort_param { hue_prob: 0.5 }", "distort_param changes colors at random"),
        ("expand_param { prob: 0.5 }", "expand_param moves the picture at random"),
        ("force_color: true force_gray: true", "force_color and force_gray exclude each other"),
        ("mean_file: 'm' mean_value: 1", "mean_file and mean_value exclude each other"),
        ("crop_h: 3", "a crop has crop_fraction, crop_size, or both crop_h and crop_w"),
        ("crop_fraction: 0.5 crop_size: 3", "a crop has crop_fraction, crop_size, or both"),
        ("resize: 1 resize: 2 resize: 3", "a resize has one size"),
        ("resize_param { height: 3 }", "resize_param says no size: give height and width"),
        ("resize_param { height: 3 width: 3 interp_mode: [AREA, CUBIC] }", "one of 2 interp_modes is taken"),
        ("resize_param { height: 3 width: 3 resize_mode: SQUEEZE }", "unknown resize_mode SQUEEZE"),
        ("resize_param { height: 3 width: 3 prob: 0.5 }", "prob under 1 leaves some pictures as they are"),
        ("scale: 2 transform_op { op: STAND }", "transform_op and scale exclude each other"),
        ("transform_op { op: RESIZE }", "RESIZE says no size: give resize_side, or resize_h and resize_w"),
        ("transform_op { op: RESIZE resize_side: 3 resize_h: 3 resize_w: 3 }", "a resize has one size"),
        ("transform_op { op: CROP }", "CROP says no size: give crop_fraction, or crop_h and crop_w"),
        ("transform_op { op: TURN }", "TURN is none of RESIZE, CROP and STAND"),
    ],
)
def test_what_cannot_be_repeated_is_refused(text, reason):
    with pytest.raises(PreprocessError, match=f"layer 'data'.*{reason}"):
        transform(text)
