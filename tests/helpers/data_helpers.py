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
from distq.data.picture import Order, Picture, Step
from distq.data.samples import InputSpec
from distq.data.steps import parse_step


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


def run_steps(image: NDArray[Any], *steps: object, order: Order = "bgr") -> NDArray[Any]:
    """What the steps of a preprocessing file make of a picture."""
    current = Picture(image, order)
    for step in steps:
        parsed = parse_step(step)
        assert isinstance(parsed, Step)
        current = parsed.apply(current)
    return current.array


def mean_blob(mean: NDArray[Any], legacy: bool = True) -> bytes:
    """A BlobProto of a mean picture (C, H, W), as compute_image_mean writes it."""
    values = b"\x2a" + _varint(mean.size * 4) + mean.astype("<f4").tobytes()
    if legacy:
        sizes = zip((1, 2, 3, 4), (1, *mean.shape), strict=True)
        return b"".join(_varint(number << 3) + _varint(size) for number, size in sizes) + values
    shape = b"".join(_varint(size) for size in mean.shape)
    return values + b"\x3a" + _varint(len(shape) + 2) + b"\x0a" + _varint(len(shape)) + shape


def _varint(value: int) -> bytes:
    encoded = b""
    while value > 0x7F:
        encoded += bytes([value & 0x7F | 0x80])
        value >>= 7
    return encoded + bytes([value])


def annotated_datum(inner: bytes, groups: dict[int, list[tuple[float, float, float, float, bool]]]) -> bytes:
    """An AnnotatedDatum of the SSD fork: a Datum, and boxes by class."""
    annotation_groups = b""
    for label, boxes in groups.items():
        group = b"\x08" + _varint(label)
        for instance, (*edges, difficult) in enumerate(boxes):
            box = b"".join(
                _varint(number << 3 | 5) + struct.pack("<f", edge) for number, edge in enumerate(edges, 1)
            )
            box += b"\x30" + _varint(difficult)
            annotation = b"\x08" + _varint(instance) + b"\x12" + _varint(len(box)) + box
            group += b"\x12" + _varint(len(annotation)) + annotation
        annotation_groups += b"\x1a" + _varint(len(group)) + group
    return b"\x0a" + _varint(len(inner)) + inner + b"\x10\x00" + annotation_groups
