"""Sizes from image headers."""

from __future__ import annotations

import struct

import cv2
import pytest
from data_helpers import encoded, picture, with_exif_orientation
from hypothesis import given
from hypothesis import strategies as st

from distq.data.image_header import image_size

FORMATS = [".jpg", ".png", ".bmp", ".gif", ".webp", ".tiff", ".ppm"]


@pytest.mark.parametrize("extension", FORMATS)
def test_the_size_is_what_the_decoder_finds(extension):
    assert image_size(encoded(picture(37, 53), extension)) == (37, 53)


def test_lossy_and_extended_webp():
    lossy = cv2.imencode(".webp", picture(37, 53), [cv2.IMWRITE_WEBP_QUALITY, 50])[1].tobytes()
    assert lossy[12:16] == b"VP8 "
    assert image_size(lossy) == (37, 53)
    extended = (
        b"RIFF\0\0\0\0WEBPVP8X\x0a\0\0\0" + bytes(4) + (52).to_bytes(3, "little") + (36).to_bytes(3, "little")
    )
    assert image_size(extended) == (37, 53)


def test_progressive_jpeg_with_exif_and_bytes_behind_its_end():
    jpeg = cv2.imencode(".jpg", picture(64, 48), [cv2.IMWRITE_JPEG_PROGRESSIVE, 1])[1].tobytes()
    assert image_size(with_exif_orientation(jpeg, 6) + b"\xff\xda video \xff") == (64, 48)


@given(st.data())
def test_a_jpeg_or_png_cut_anywhere_is_refused(data):
    whole = encoded(picture(16, 16), data.draw(st.sampled_from([".jpg", ".png"])))
    cut = data.draw(st.integers(0, len(whole) - 1 - 8 * whole.startswith(b"\x89PNG")))
    with pytest.raises(ValueError, match=r"is (truncated|empty|of no known image format|a damaged JPEG)"):
        image_size(whole[:cut])


@given(st.sampled_from(FORMATS), st.data())
def test_damage_never_raises_anything_but_value_error(extension, data):
    damaged = bytearray(encoded(picture(16, 16), extension))
    for _ in range(data.draw(st.integers(1, 8))):
        damaged[data.draw(st.integers(0, len(damaged) - 1))] = data.draw(st.integers(0, 255))
    try:
        height, width = image_size(bytes(damaged))
    except ValueError:
        return
    assert height > 0
    assert width > 0


def test_a_bomb_is_measured_without_its_pixels():
    header = b"\x89PNG\r\n\x1a\n" + struct.pack(">I4sII", 13, b"IHDR", 100_000, 90_000) + bytes(9)
    assert image_size(header + struct.pack(">I4sI", 0, b"IEND", 0)) == (90_000, 100_000)


@pytest.mark.parametrize(
    ("data", "reason"),
    [(b"", "is empty"), (b"hello", "no known image format"), (b"BM" + bytes(30), "has no pixels")],
)
def test_the_error_says_what_is_wrong(data, reason):
    with pytest.raises(ValueError, match=reason):
        image_size(data)
