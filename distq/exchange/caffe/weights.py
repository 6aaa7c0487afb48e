"""Read a caffemodel: the numbers of each layer, by the layer's name."""

from __future__ import annotations

from math import prod
from pathlib import Path

import numpy as np
from google.protobuf.message import DecodeError  # type: ignore[import-untyped]  # protobuf ships no types
from numpy.typing import NDArray

from distq.errors import ModelError
from distq.exchange.caffe.schema import Message, new_message
from distq.regular import read_regular

Blob = NDArray[np.float32]

_HDF5_MAGIC = b"\x89HDF\r\n"
_RAW_TYPES = {0: "<f8", 1: "<f4", 2: "<f2", 3: "<i4", 4: "<u4"}
"""NVIDIA Caffe's ``raw_data_type``."""


def read_weights(path: Path) -> dict[str, list[Blob]]:
    """The blobs of each layer that has any, float32, in the shapes they are stored in.

    Of two layers of one name the last that has blobs counts, as in Caffe.

    Raises:
        ModelError: it cannot be read, is cut off, or is no caffemodel.
    """
    try:
        data = read_regular(path)
    except OSError as error:
        raise ModelError(f"cannot read the weights {path}: {error.strerror}; give the .caffemodel") from error
    if data.startswith(_HDF5_MAGIC):
        raise ModelError(
            f"{path} has weights in HDF5: save them as a caffemodel (snapshot_format: BINARYPROTO)"
        )
    net = new_message("WeightsNet")
    try:
        net.ParseFromString(data)
    except DecodeError as error:
        raise ModelError(
            f"{path} is no whole caffemodel: it is cut off or of another format; copy it again"
        ) from error
    layers = [*net.layers, *net.layer]
    found: dict[str, list[Blob]] = {}
    for layer in layers:
        inner = layer.layer if layer.DESCRIPTOR.name == "WeightsLayerV1" and not layer.name else layer
        if inner.blobs:
            name = decoded(inner.name)
            found[name] = [_blob(path, name, blob) for blob in inner.blobs]
    if not layers:
        raise ModelError(f"{path} is no caffemodel, it has no layers: give the binary weights of the network")
    return found


def decoded(name: bytes) -> str:
    """Text as both files have it: UTF-8, or in some other code one character a byte."""
    try:
        return name.decode("utf-8")
    except UnicodeDecodeError:
        return name.decode("latin-1")


def _blob(path: Path, layer: str, blob: Message) -> Blob:
    kind, data = "<f4", b"".join(blob.data)
    if blob.raw_data:
        kind, data = _RAW_TYPES.get(blob.raw_data_type, kind), blob.raw_data
    elif blob.double_data:
        kind, data = "<f8", b"".join(blob.double_data)
    legacy = (blob.num, blob.channels, blob.height, blob.width)
    shape = tuple(blob.shape.dim) if blob.HasField("shape") else legacy
    size = np.dtype(kind).itemsize
    if prod(shape) * size != len(data):
        raise ModelError(
            f"{path}: layer {layer} has {len(data) / size:g} numbers where its shape has {prod(shape)}: "
            "the file is damaged, copy it again"
        )
    return np.frombuffer(data, kind).astype(np.float32, copy=False).reshape(shape)
