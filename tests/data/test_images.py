"""Decoding images."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from data_helpers import encoded, picture, with_exif_orientation

from distq.data.images import decode_image, pixels_of, read_image_file
from distq.data.samples import ImageBytes, ImageFile, Pixels, UnreadableSample

LIMIT = 10_000


def test_color_images_are_bgr_and_gray_files_get_three_channels():
    image = picture(5, 7)
    np.testing.assert_array_equal(decode_image(encoded(image), "x", LIMIT), image)
    gray = decode_image(encoded(image[:, :, 0]), "x", LIMIT)
    np.testing.assert_array_equal(gray, np.repeat(image[:, :, :1], 3, axis=2))


def test_gray_decoding_gives_one_channel():
    image = picture(5, 7)
    gray = decode_image(encoded(image), "x", LIMIT, gray=True)
    assert gray.shape == (5, 7, 1)
    # the codec's weights are OpenCV's up to rounding
    np.testing.assert_allclose(gray[:, :, 0], cv2.cvtColor(image, cv2.COLOR_BGR2GRAY), atol=1)


def test_alpha_goes_and_sixteen_bit_becomes_eight():
    image = picture(4, 4)
    alpha = np.dstack([image, np.full((4, 4), 7, np.uint8)])
    np.testing.assert_array_equal(decode_image(encoded(alpha), "x", LIMIT), image)
    deep = decode_image(cv2.imencode(".png", image.astype(np.uint16) * 256)[1].tobytes(), "x", LIMIT)
    assert deep.dtype == np.uint8
    np.testing.assert_array_equal(deep, image)


@pytest.mark.parametrize(
    ("orientation", "turned"),
    [
        (1, lambda image: image),
        (3, lambda image: image[::-1, ::-1]),
        (6, lambda image: image.transpose(1, 0, 2)[:, ::-1]),
        (8, lambda image: image.transpose(1, 0, 2)[::-1]),
    ],
)
def test_exif_orientation_is_applied(orientation, turned):
    jpeg = encoded(picture(16, 24), ".jpg")
    upright = decode_image(jpeg, "x", LIMIT)
    decoded = decode_image(with_exif_orientation(jpeg, orientation), "x", LIMIT)
    np.testing.assert_array_equal(decoded, turned(upright))


@pytest.mark.parametrize("extension", [".jpg", ".png", ".bmp", ".gif", ".webp", ".tiff", ".ppm"])
@pytest.mark.parametrize("keep", [0.0, 0.02, 0.5, 0.9])
def test_a_truncated_image_is_named(extension, keep):
    data = encoded(picture(40, 40), extension)
    with pytest.raises(UnreadableSample, match=r"image cat\.x "):
        decode_image(data[: int(len(data) * keep)], "cat.x", LIMIT)


def test_an_image_over_the_pixel_limit_is_named_with_both_numbers():
    data = encoded(np.zeros((101, 100, 3), np.uint8))
    with pytest.raises(UnreadableSample, match=r"image big\.png has 100x101 pixels, over the limit of 10000"):
        decode_image(data, "big.png", LIMIT)
    assert decode_image(data, "big.png", 10_100).shape == (101, 100, 3)


def test_a_damaged_stream_is_found():
    data = bytearray(encoded(picture(40, 40)))
    data[60:90] = bytes(30)  # inside the compressed stream
    with pytest.raises(UnreadableSample, match="cannot be decoded"):
        decode_image(bytes(data), "x", LIMIT)


@pytest.mark.parametrize("name", ["missing.png", "with\0zero.png", "."])
def test_a_file_that_cannot_be_read_is_named(tmp_path, name):
    with pytest.raises(UnreadableSample, match="cannot be read"):
        read_image_file(tmp_path / name)


def test_a_picture_is_the_same_from_a_file_from_memory_and_decoded(tmp_path):
    image = picture(4, 6)
    (tmp_path / "a.png").write_bytes(encoded(image))
    for item in (ImageFile(tmp_path / "a.png"), ImageBytes(encoded(image)), Pixels(image)):
        np.testing.assert_array_equal(pixels_of(item, "a"), image)
    with pytest.raises(UnreadableSample, match="image record 7 has 6x4 pixels, over the limit"):
        pixels_of(ImageBytes(encoded(image)), "record 7", 20)
