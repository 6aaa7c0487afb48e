"""What the steps that resize, cut and turn do to a picture."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from data_helpers import picture, run_steps
from hypothesis import given, settings
from hypothesis import strategies as st

from distq.errors import PreprocessError


@pytest.mark.parametrize(
    ("size", "wanted"),
    [((300, 400), (256, 341)), ((400, 300), (341, 256)), ((256, 256), (256, 256)), ((3, 1000), (256, 85333))],
)
def test_the_other_side_is_rounded_half_up(size, wanted):
    image = np.zeros((*size, 3), np.uint8)
    assert run_steps(image, {"resize": {"shorter_side": 256}}).shape == (*wanted, 3)


def test_half_a_pixel_rounds_up():
    assert run_steps(np.zeros((2, 5, 3), np.uint8), {"resize": {"shorter_side": 1}}).shape == (1, 3, 3)


@pytest.mark.parametrize("name", ["linear", "area", "cubic", "nearest", "lanczos4"])
def test_interpolations_are_opencvs_on_uint8(name):
    image = picture(20, 30)
    got = run_steps(image, {"resize": {"height": 13, "width": 40, "interpolation": name}})
    code = getattr(cv2, f"INTER_{name.upper()}")
    assert got.dtype == np.uint8
    np.testing.assert_array_equal(got, cv2.resize(image, (40, 13), interpolation=code))


def test_linear_is_the_default():
    image = picture(20, 30)
    np.testing.assert_array_equal(
        run_steps(image, {"resize": {"height": 7, "width": 9}}),
        cv2.resize(image, (9, 7), interpolation=cv2.INTER_LINEAR),
    )


@pytest.mark.parametrize(("place", "rows"), [("top_left", slice(0, 312)), ("center", slice(52, 364))])
def test_letterbox_keeps_the_aspect_and_pads(place, rows):
    image = picture(480, 640)
    got = run_steps(image, {"resize": {"height": 416, "width": 416, "letterbox": place, "pad": 77}})
    inner = cv2.resize(image, (416, 312), interpolation=cv2.INTER_LINEAR)
    assert got.shape == (416, 416, 3)
    np.testing.assert_array_equal(got[rows], inner)
    rest = np.delete(got, np.r_[rows], axis=0)
    assert (rest == 77).all()


def test_letterbox_of_a_tall_picture_and_the_default_pad():
    got = run_steps(
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
    got = run_steps(image, {"resize": {"height": to_height, "width": to_width, "letterbox": place, "pad": 0}})
    inside = (got == 5).all(axis=2)
    rows, columns = inside.any(axis=1).sum(), inside.any(axis=0).sum()
    assert got.shape == (to_height, to_width, 3)
    assert inside.sum() == rows * columns
    assert rows == to_height or columns == to_width


def test_a_crop_starts_at_half_the_rest_rounded_down():
    image = picture(9, 8)
    np.testing.assert_array_equal(
        run_steps(image, {"center_crop": {"height": 4, "width": 3}}), image[2:6, 2:5]
    )
    with pytest.raises(PreprocessError, match="center_crop of 10x3 does not fit into 9x8"):
        run_steps(image, {"center_crop": {"height": 10, "width": 3}})


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
    np.testing.assert_array_equal(run_steps(image, {"flip": way}), flipped(image))


@pytest.mark.parametrize(
    ("size", "wanted"),
    [
        ((600, 1000), (300, 500)),
        ((1000, 600), (499, 300)),
        ((333, 500), (300, 450)),
        ((500, 333), (450, 300)),
        ((300, 300), (300, 300)),
    ],
)
def test_cover_rounds_down_as_resize_param_does(size, wanted):
    """In float32 0.6 is a little more, so that 300 / 0.6 is a little under 500."""
    image = np.zeros((*size, 3), np.uint8)
    step = {"resize": {"height": 300, "width": 300, "cover": True, "rounding": "floor"}}
    assert run_steps(image, step).shape == (*wanted, 3)


@settings(max_examples=200, deadline=None)
@given(*[st.integers(2, 300)] * 4)
def test_cover_always_covers(height, width, to_height, to_width):
    step = {"resize": {"height": to_height, "width": to_width, "cover": True}}
    got = run_steps(np.zeros((height, width, 3), np.uint8), step).shape
    assert (got[0] == to_height and got[1] >= to_width) or (got[0] >= to_height and got[1] == to_width)


@pytest.mark.parametrize(
    ("mode", "border"), [("constant", "CONSTANT"), ("reflect", "REFLECT_101"), ("replicate", "REPLICATE")]
)
def test_rounding_down_and_borders_are_those_of_resize_param(mode, border):
    """Of 50 x 90 into 32 x 32: floor(32 / 1.8) = 17 rows, where the nearest is 18; 7 rows above, 8 below."""
    image = picture(50, 90)
    step = {"height": 32, "width": 32, "letterbox": "center", "rounding": "floor", "pad_mode": mode}
    got = run_steps(image, {"resize": {**step, "pad": [1, 2, 3]}})
    inner = cv2.resize(image, (32, 17), interpolation=cv2.INTER_LINEAR)
    kind = getattr(cv2, f"BORDER_{border}")
    np.testing.assert_array_equal(got, cv2.copyMakeBorder(inner, 7, 8, 0, 0, kind, value=(1, 2, 3)))


def test_a_number_of_pads_that_is_not_that_of_the_channels_is_refused():
    step = {"resize": {"height": 9, "width": 4, "letterbox": "center", "pad": [1, 2]}}
    with pytest.raises(PreprocessError, match="pad has 2 numbers, the picture 3 channels"):
        run_steps(picture(4, 4), step)


@pytest.mark.parametrize(
    ("size", "step", "wanted"),
    [
        ((300, 400), {"longer_side": 100}, (75, 100)),
        ((400, 300), {"longer_side": 100}, (100, 75)),
        ((30, 40), {"longer_side": 100, "only": "larger"}, (30, 40)),
        ((300, 400), {"longer_side": 100, "only": "larger"}, (75, 100)),
        ((300, 400), {"shorter_side": 100, "only": "smaller"}, (300, 400)),
        ((30, 40), {"shorter_side": 100, "only": "smaller"}, (100, 133)),
        ((30, 40), {"shorter_side": 100, "only": "smaller", "rounding": "ceil"}, (100, 134)),
        ((300, 427), {"longer_side": 960, "only": "larger", "multiple_of": 32}, (288, 416)),
        ((720, 1280), {"longer_side": 960, "multiple_of": 32}, (544, 960)),  # 540 is 16.9 times 32
        ((80, 112), {"multiple_of": 32}, (64, 128)),  # 2.5 and 3.5 times 32, both to even
        ((3, 5), {"multiple_of": 32}, (32, 32)),
        ((30, 100), {"height": 48, "rounding": "ceil"}, (48, 160)),
        ((31, 100), {"height": 48, "rounding": "ceil"}, (48, 155)),
        ((31, 100), {"height": 48, "rounding": "floor"}, (48, 154)),
        ((31, 1000), {"height": 48, "max_width": 320}, (48, 320)),
    ],
)
def test_sides_follow_a_length_a_height_and_multiples(size, step, wanted):
    assert run_steps(np.zeros((*size, 3), np.uint8), {"resize": step}).shape == (*wanted, 3)


@pytest.mark.parametrize(
    ("step", "rows", "columns", "shape"),
    [
        ({"width": 9}, slice(0, 4), slice(0, 6), (4, 9)),
        ({"height": 7, "width": 6}, slice(0, 4), slice(0, 6), (7, 6)),
        ({"multiple_of": 5, "place": "center"}, slice(0, 4), slice(2, 8), (5, 10)),
    ],
)
def test_pad_puts_a_value_by_channel_around_a_picture(step, rows, columns, shape):
    image = picture(4, 6)
    got = run_steps(image, {"pad": {**step, "fill": [1, 2, 255]}})
    wanted = np.empty((*shape, 3), np.uint8)
    wanted[:] = 1, 2, 255
    wanted[rows, columns] = image
    np.testing.assert_array_equal(got, wanted)


def test_behind_the_arithmetic_any_number_is_padded_with():
    """As lines are fed to a recognizer of text: 48 high, with a value of the network's own in the rest."""
    line = {"resize": {"height": 48, "max_width": 320}}
    got = run_steps(
        picture(24, 50), line, {"mean": 127.5}, {"std": 127.5}, {"pad": {"width": 320, "fill": -0.5}}
    )
    assert got.shape == (48, 320, 3)
    assert got.dtype == np.float32
    assert (got[:, 100:] == -0.5).all()
    assert got[:, :100].min() < -0.5


@pytest.mark.parametrize(
    ("step", "reason"),
    [
        ({"width": 3}, "pad to 4x3 does not hold a picture of 4x6: resize first"),
        ({"width": 9, "fill": [1, 2]}, "fill has 2 numbers, the picture 3 channels"),
        ({"width": 9, "fill": 0.5}, r"fill \[0.5\] is no level from 0 to 255"),
        ({"width": 9, "fill": -1}, "is no level from 0 to 255"),
        ({"height": 60_000, "width": 60_000}, "60000x60000 pixels is over the limit"),
    ],
)
def test_a_pad_that_does_not_fit_the_picture_is_refused(step, reason):
    with pytest.raises(PreprocessError, match=reason):
        run_steps(picture(4, 6), {"pad": step})


@pytest.mark.parametrize(
    ("size", "fraction", "wanted"),
    [((8, 8), 0.5, slice(2, 6)), ((9, 9), 0.5, slice(2, 7)), ((256, 256), 0.875, slice(16, 240))],
)
def test_a_fraction_is_cut_off_symmetrically(size, fraction, wanted):
    image = picture(*size)
    got = run_steps(image, {"center_crop": {"fraction": fraction}})
    np.testing.assert_array_equal(got, image[wanted, wanted])


def test_a_crop_with_pad_surrounds_what_is_smaller():
    image = picture(4, 9)
    got = run_steps(image, {"center_crop": {"height": 7, "width": 5, "pad": 9}})
    wanted = np.full((7, 5, 3), 9, np.uint8)
    wanted[1:5] = image[:, 2:7]
    np.testing.assert_array_equal(got, wanted)


def test_transpose_swaps_height_and_width():
    image = picture(3, 4)
    np.testing.assert_array_equal(run_steps(image, {"transpose": True}), image.transpose(1, 0, 2))


def test_a_picture_is_not_resized_beyond_what_is_decoded():
    with pytest.raises(ValueError, match=r"40000x40000 pixels is over the limit of 100000000"):
        run_steps(np.zeros((2, 2, 3), np.uint8), {"resize": {"shorter_side": 40_000}})
    with pytest.raises(PreprocessError, match=r"10x60000000 pixels is over the limit"):
        run_steps(np.zeros((1, 6_000_000, 3), np.uint8), {"resize": {"shorter_side": 10}})
