"""Pictures, databases and specifications the tests of the data folder share."""

from __future__ import annotations

import struct
from pathlib import Path
from typing import Any

import cv2
import lmdb
import numpy as np
from numpy.typing import NDArray

from distq.data.datum import Datum, encode_datum
from distq.data.samples import InputSpec


def picture(height: int, width: int, seed: int = 0) -> NDArray[np.uint8]:
    """A noisy BGR picture."""
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8)


def encoded(image: NDArray[np.uint8], extension: str = ".png") -> bytes:
    return cv2.imencode(extension, image)[1].tobytes()


def write_picture(path: Path, image: NDArray[np.uint8]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(encoded(image, path.suffix.lower()))


def with_exif_orientation(jpeg: bytes, orientation: int) -> bytes:
    """Put an APP1 segment with the orientation tag behind the start marker."""
    entry = struct.pack(">HHIHH", 0x112, 3, 1, orientation, 0)
    exif = b"Exif\0\0MM\0*" + struct.pack(">IH", 8, 1) + entry + struct.pack(">I", 0)
    return jpeg[:2] + b"\xff\xe1" + struct.pack(">H", len(exif) + 2) + exif + jpeg[2:]


def image_input(*shape: int | None, name: str = "data", dtype: str = "float32") -> InputSpec:
    return InputSpec(name, (1, *shape), dtype)


def raw_datum(image: NDArray[Any], label: int | None = None) -> bytes:
    """A Datum of planar pixels."""
    height, width, channels = image.shape
    return encode_datum(Datum(channels, height, width, image.transpose(2, 0, 1).tobytes(), label))


def write_lmdb(folder: Path, records: dict[bytes, bytes]) -> Path:
    environment = lmdb.open(str(folder), map_size=1 << 26)
    with environment.begin(write=True) as transaction:
        for key, value in records.items():
            transaction.put(key, value)
    environment.close()
    return folder
