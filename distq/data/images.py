"""Decoding images, the same on every machine: OpenCV's IMREAD_COLOR with a pixel limit."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from distq.data.image_header import image_size
from distq.data.samples import DEFAULT_PIXEL_LIMIT, ImageBytes, ImageFile, Pixels, UnreadableSample
from distq.memory import is_out_of_memory
from distq.regular import read_regular


def decode_image(data: bytes, name: str, pixel_limit: int, *, gray: bool = False) -> NDArray[np.uint8]:
    """Decode one image, EXIF orientation applied.

    Args:
        data: The complete image file.
        name: What to call it in an error.
        pixel_limit: Most pixels (height x width) to decode.
        gray: Decode to one channel instead of three.

    Returns:
        uint8 (H, W, 3) in BGR order, or (H, W, 1).

    Raises:
        UnreadableSample: it is damaged, truncated, of an unknown format or over the limit.
    """
    prepare_opencv()
    try:
        height, width = image_size(data)
    except ValueError as error:
        raise UnreadableSample(f"image {name} {error}") from None
    if height * width > pixel_limit:
        raise UnreadableSample(f"image {name} has {width}x{height} pixels, over the limit of {pixel_limit}")
    try:
        image = cv2.imdecode(
            np.frombuffer(data, np.uint8), cv2.IMREAD_GRAYSCALE if gray else cv2.IMREAD_COLOR
        )
    except cv2.error as error:
        if is_out_of_memory(error):
            raise MemoryError(str(error)) from error
        image = None
    if image is None:
        raise UnreadableSample(f"image {name} cannot be decoded")
    decoded: NDArray[np.uint8] = image.reshape(*image.shape[:2], -1)
    return decoded


def pixels_of(
    item: ImageFile | ImageBytes | Pixels, name: str, pixel_limit: int = DEFAULT_PIXEL_LIMIT
) -> NDArray[np.uint8]:
    """The picture that a source stores, decoded.

    Args:
        item: What the source's ``read`` gave.
        name: What to call it in an error, where it is no file.
        pixel_limit: Most pixels (height x width) to decode.

    Returns:
        uint8 (H, W, 3) in BGR order, or (H, W, 1).

    Raises:
        UnreadableSample: as of :func:`decode_image` and :func:`read_image_file`.
    """
    if isinstance(item, Pixels):
        return item.array
    if isinstance(item, ImageFile):
        return decode_image(read_image_file(item.path), str(item.path), pixel_limit)
    return decode_image(item.data, name, pixel_limit)


def read_image_file(path: Path) -> bytes:
    """Read an image file.

    Raises:
        UnreadableSample: it is missing, no regular file, or cannot be read.
    """
    try:
        return read_regular(path)
    except (OSError, ValueError) as error:  # ValueError: a NUL in the path
        reason = getattr(error, "strerror", None) or error
        raise UnreadableSample(f"image {path} cannot be read: {reason}") from None


@cache
def prepare_opencv() -> None:
    """Make OpenCV deterministic and quiet, once per process.

    One thread and no vendor kernels: pixels must not depend on the machine. Its warnings go, as distq names
    the unreadable image itself.
    """
    cv2.setNumThreads(1)
    cv2.ipp.setUseIPP(False)
    cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)
