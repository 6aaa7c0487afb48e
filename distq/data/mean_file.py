"""A mean picture: Caffe's ``mean_file``, a BlobProto as compute_image_mean writes it, or an .npy."""

from __future__ import annotations

import io
import math
from functools import lru_cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from distq.data.wire import BYTES, FIXED32, FIXED64, VARINT, as_floats, read_fields, read_varint
from distq.errors import PreprocessError
from distq.files import BROKEN_ARCHIVE, sha256_bytes
from distq.regular import read_regular

_LEGACY_SIZES = (1, 2, 3, 4)  # num, channels, height, width


def mean_file_sha256(path: Path) -> str:
    """SHA-256 of a mean file that can be read.

    Raises:
        PreprocessError: it is missing, or no mean picture.
    """
    data = _read(path)
    _picture(path, data)
    return sha256_bytes(data)


@lru_cache(maxsize=8)
def load_mean(path: str, sha256: str) -> NDArray[np.float32]:
    """A mean picture, (H, W, C) in the order of channels it was computed in: BGR of Caffe's tool.

    Raises:
        PreprocessError: it is missing, has changed, or is no picture of channels, height and width.
    """
    data = _read(Path(path))
    if sha256_bytes(data) != sha256:
        raise PreprocessError(f"mean file {path} has changed since the job began: start the job anew")
    return _picture(Path(path), data)


def _picture(path: Path, data: bytes) -> NDArray[np.float32]:
    try:
        if path.suffix.lower() == ".npy":
            array = np.lib.format.read_array(io.BytesIO(data), allow_pickle=False)
        else:
            array = _blob(data)
    except (ValueError, *BROKEN_ARCHIVE) as error:
        raise PreprocessError(f"mean file {path} {error}: give the .binaryproto of a mean image") from None
    while array.ndim > 3 and array.shape[0] == 1:
        array = array[0]
    if array.ndim != 3:
        shape = "x".join(map(str, array.shape))
        raise PreprocessError(
            f"mean file {path} holds {shape}, no channels x height x width: give a mean image"
        )
    return np.ascontiguousarray(array.transpose(1, 2, 0), np.float32)


def _read(path: Path) -> bytes:
    try:
        return read_regular(path)
    except OSError as error:
        raise PreprocessError(
            f"mean file {path} cannot be read: {error.strerror}; give the .binaryproto of a mean image"
        ) from None


def _blob(data: bytes) -> NDArray[np.float32]:
    """The array of a BlobProto: sizes 1 to 4 or shape 7, data 5, double_data 8 (BVLC Caffe, caffe.proto)."""
    legacy = dict.fromkeys(_LEGACY_SIZES, 1)
    shape: tuple[int, ...] = ()
    parts: list[NDArray[np.float32]] = []
    for number, wire, value in read_fields(data):
        if number in legacy and isinstance(value, int):
            legacy[number] = value
        elif number == 5 and wire in {BYTES, FIXED32} and isinstance(value, bytes):
            parts.append(as_floats(value))
        elif number == 8 and wire in {BYTES, FIXED64} and isinstance(value, bytes):
            parts.append(np.frombuffer(value, "<f8").astype(np.float32))
        elif number == 7 and isinstance(value, bytes):
            shape = _dimensions(value)
    values = np.concatenate(parts) if parts else np.empty(0, np.float32)
    shape = shape or tuple(legacy[number] for number in _LEGACY_SIZES)
    if not values.size or math.prod(shape) != values.size:
        raise ValueError("is no BlobProto")
    return values.reshape(shape)


def _dimensions(data: bytes) -> tuple[int, ...]:
    """BlobShape's ``dim``, packed or not."""
    sizes: list[int] = []
    for number, wire, value in read_fields(data):
        if number != 1:
            continue
        if wire == VARINT and isinstance(value, int):
            sizes.append(value)
        elif isinstance(value, bytes):
            position = 0
            while position < len(value):
                size, position = read_varint(value, position)
                sizes.append(size)
    return tuple(sizes)
