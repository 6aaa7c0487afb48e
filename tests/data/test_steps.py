"""What each preprocessing step does to a picture."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from data_helpers import picture
from hypothesis import given, settings
from hypothesis import strategies as st

from distq.data.steps import Picture, parse_step
from distq.errors import PreprocessError


def run(image, *steps, order="bgr"):
    current = Picture(image, order)
    for step in steps:
        current = parse_step(step).apply(current)
    return current.array


@pytest.mark.parametrize(
    ("size", "wanted"),
    [((300, 400), (256, 341)), ((400, 300), (341, 256)), ((256, 256), (256, 256)), ((3, 1000), (256, 85333))],
)
def test_the_other_side_is_rounded_half_up(size, wanted):
    image = np.zeros((*size, 3), np.uint8)
    assert run(image, {"resize": {"shorter_side": 256}}).shape == (*wanted, 3)


def test_half_a_pixel_rounds_up():
    assert run(np.zeros((2, 5, 3), np.uint8), {"resize": {"shorter_side": 1}}).shape == (1, 3, 3)


@pytest.mark.parametrize("name", ["linear", "area", "cubic", "nearest", "lanczos4"])
def test_interpolations_are_opencvs_on_uint8(name):
    image = picture(20, 30)
    got = run(image, {"resize": {"height": 13, "width": 40, "interpolation": name}})
    code = getattr(cv2, f"INTER_{name.upper()}")
    assert got.dtype == np.uint8
    np.testing.assert_array_equal(got, cv2.resize(image, (40, 13), interpolation=code))


def test_linear_is_the_default():
    image = picture(20, 30)
    np.testing.assert_array_equal(
        run(image, {"resize": {"height": 7, "width": 9}}),
        cv2.resize(image, (9, 7), interpolation=cv2.INTER_LINEAR),
    )


@pytest.mark.parametrize(("place", "rows"), [("top_left", slice(0, 312)), ("center", slice(52, 364))])
def test_letterbox_keeps_the_aspect_and_pads(place, rows):
    image = picture(480, 640)
    got = run(image, {"resize": {"height": 416, "width": 416, "letterbox": place, "pad": 77}})
    inner = cv2.resize(image, (416, 312), interpolation=cv2.INTER_LINEAR)
    assert got.shape == (416, 416, 3)
    np.testing.assert_array_equal(got[rows], inner)
    rest = np.delete(got, np.r_[rows], axis=0)
    assert (rest == 77).all()


def test_letterbox_of_a_tall_picture_and_the_default_pad():
    got = run(
        np.zeros((100, 33, 3), np.uint8), {"resize": {"height": 50, "width": 50, "letterbox": "center"}}
    )
    # 33 * 50 / 100 = 16.5, rounded up to 17; (50 - 17) // 2 = 16 columns to the left
    assert (got[:, 16:33] == 0).all()
    assert (got[:, :16] == 114).all()
    assert (got[:, 33:] == 114).all()


@settings(deadline=None, max_examples=40)
@given(*[st.integers(1, 60)] * 4, st.sampled_from(["top_left", "center"]))
def test_letterbox_always_gives_the_size_asked_for(height, width, to_height, to_width, place):
    image = np.full((height, width, 3), 5, np.uint8)
    got = run(image, {"resize": {"height": to_height, "width": to_width, "letterbox": place, "pad": 0}})
    inside = (got == 5).all(axis=2)
    rows, columns = inside.any(axis=1).sum(), inside.any(axis=0).sum()
    assert got.shape == (to_height, to_width, 3)
    assert inside.sum() == rows * columns
    assert rows == to_height or columns == to_width


def test_a_crop_starts_at_half_the_rest_rounded_down():
    image = picture(9, 8)
    np.testing.assert_array_equal(run(image, {"center_crop": {"height": 4, "width": 3}}), image[2:6, 2:5])
    with pytest.raises(PreprocessError, match="center_crop of 10x3 does not fit into 9x8"):
        run(image, {"center_crop": {"height": 10, "width": 3}})


def test_colors_convert_from_any_order_to_any():
    image = picture(4, 5)
    rgb = image[:, :, ::-1]
    gray = cv2.cvtColor(image, cv2.COLOR_BGR2GRAY)[:, :, np.newaxis]
    np.testing.assert_array_equal(run(image, {"color": "bgr"}), image)
    np.testing.assert_array_equal(run(image, {"color": "rgb"}), rgb)
    np.testing.assert_array_equal(run(image, {"color": "gray"}), gray)
    np.testing.assert_array_equal(run(image, {"color": "rgb"}, {"color": "gray"}), gray)
    np.testing.assert_array_equal(run(image, {"color": "rgb"}, {"color": "bgr"}), image)
    np.testing.assert_array_equal(run(gray, {"color": "rgb"}, order="gray"), np.repeat(gray, 3, axis=2))


def test_colors_want_one_or_three_channels():
    with pytest.raises(PreprocessError, match="this one has 5"):
        run(np.zeros((2, 2, 5), np.uint8), {"color": "rgb"})


@pytest.mark.parametrize(
    ("way", "flipped"),
    [
        ("horizontal", lambda image: image[:, ::-1]),
        ("vertical", lambda image: image[::-1]),
        ("both", lambda image: image[::-1, ::-1]),
    ],
)
def test_flips(way, flipped):
    image = picture(3, 4)
    np.testing.assert_array_equal(run(image, {"flip": way}), flipped(image))


def test_arithmetic_is_float32_in_the_order_given():
    image = picture(3, 4)
    mean, std = [0.485, 0.456, 0.406], [0.229, 0.224, 0.225]
    got = run(image, {"scale": 1 / 255}, {"mean": mean}, {"std": std})
    wanted = (image.astype(np.float32) * np.float32(1 / 255) - np.float32(mean)) / np.float32(std)
    assert got.dtype == np.float32
    np.testing.assert_array_equal(got, wanted)
    np.testing.assert_array_equal(run(image, {"mean": 127}, {"std": [128]}), (np.float32(image) - 127) / 128)


def test_numbers_per_channel_must_match_the_channels():
    with pytest.raises(PreprocessError, match="mean has 3 numbers, the picture 1 channels"):
        run(picture(2, 2), {"color": "gray"}, {"mean": [1, 2, 3]})


@pytest.mark.parametrize(
    ("raw", "reason"),
    [
        ({"rezise": {}}, "unknown step 'rezise', did you mean 'resize'. allowed: center_crop, color"),
        ({"resize": {"heigth": 3, "width": 3}}, "unknown key 'heigth', did you mean 'height'"),
        ({"resize": {"height": 3}}, "either shorter_side or both height and width"),
        ({"resize": {"height": 3, "width": 3, "shorter_side": 3}}, "either shorter_side or both"),
        ({"resize": {"shorter_side": 3, "letterbox": "center"}}, "letterbox needs height and width"),
        ({"resize": {"height": 3, "width": 3, "pad": 3}}, "pad needs letterbox"),
        ({"resize": {"height": 0, "width": 3}}, "greater than or equal to 1"),
        ({"center_crop": {"height": 3}}, "center_crop: width: Field required"),
        ({"color": "grey"}, "color: Input should be 'bgr', 'rgb' or 'gray'"),
        ({"scale": float("nan")}, "scale: Input should be a finite number"),
        ({"mean": []}, "mean: .* should have at least 1 item"),
        ({"std": [1, 0]}, "std must not be 0"),
        ({"scale": 1, "mean": 1}, "a step is one 'name: value'"),
        ("resize", "a step is one 'name: value'"),
    ],
)
def test_a_wrong_step_is_explained(raw, reason):
    with pytest.raises(ValueError, match=reason):
        parse_step(raw)


def test_a_picture_is_not_resized_beyond_what_is_decoded():
    with pytest.raises(ValueError, match=r"40000x40000 pixels is over the limit of 100000000"):
        run(np.zeros((2, 2, 3), np.uint8), {"resize": {"shorter_side": 40_000}})
    with pytest.raises(PreprocessError, match=r"10x60000000 pixels is over the limit"):
        run(np.zeros((1, 6_000_000, 3), np.uint8), {"resize": {"shorter_side": 10}})
