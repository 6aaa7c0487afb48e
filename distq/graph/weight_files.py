"""Weights outside of a model's bytes: one protobuf message holds at most 2 GB, and copies of it take time.

The large weights of a large network lie in files of a folder of this process, each named by the SHA-256 of
its content. The bytes of the model refer to them as ONNX's external data, by their paths from the root. So a
large network is handed around as bytes like any other, and whoever opens them finds the weights.
"""

from __future__ import annotations

import atexit
import functools
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
from onnx.external_data_helper import ExternalDataInfo

from distq import ending
from distq.errors import ExecutionError
from distq.files import atomic_stream, cannot_write, sha256_bytes, sha256_file

ROOT = "/"
"""Where the paths of weights start."""

WEIGHTS_FOLDER = ("session.model_external_initializers_file_folder_path", ROOT)
"""What a session of ONNX Runtime has to know to find them."""

MOST_INSIDE = 1 << 27
"""Bytes of weights that a model may hold: of more, the large ones lie in files.

Whoever parses, hashes, checks or copies a model does it to what it holds.
"""

MOST_IN_ONE_FILE = 1 << 29
"""Bytes of a model that is written as one file; of a larger one the weights lie beside it."""

LEAST_BYTES = 1 << 18
"""Of a weight that is put into a file."""

_PIECE = 1 << 24

_MARK = "distq-weights-"


@functools.cache
def folder() -> Path:
    """The folder of this process; it is removed when the process ends, or by a later one where it was killed.

    Raises:
        ExecutionError: there is no room for temporary files.
    """
    try:
        made = Path(tempfile.mkdtemp(prefix=_MARK)).resolve()
        ending.hold(made)
    except OSError as error:
        raise ExecutionError(f"no folder for weights can be made: {error.strerror}; set TMPDIR") from error
    atexit.register(_remove, made, os.getpid())
    ending.at_last(functools.partial(_remove, made, os.getpid()))
    return made


def put(data: bytes) -> str:
    """Write a file with this content, unless it is there.

    Returns:
        Its location: the path from the root, as external data name it.

    Raises:
        ExecutionError: there is no room.
    """
    place = folder() / sha256_bytes(data)
    if not place.exists():
        write(place, data)
    return location_of(place)


def take(path: Path) -> str:
    """Give a file of weights that lies elsewhere a place in the folder, by a link; it is not copied.

    Returns:
        Its location.
    """
    place = folder() / sha256_file(path)
    if not place.exists():
        place.symlink_to(path.resolve())
    return location_of(place)


def adopt(path: Path) -> str:
    """Move a file of weights, made in the folder, to its place there.

    Returns:
        Its location.
    """
    place = folder() / sha256_file(path)
    path.replace(place)
    return location_of(place)


def write(place: Path, data: bytes) -> None:
    """Write a file whole or not at all; of several processes that do so at once each leaves the same.

    Raises:
        ExecutionError: there is no room.
    """
    try:
        place.parent.mkdir(parents=True, exist_ok=True)
        with atomic_stream(place) as stream:
            stream.write(data)
    except OSError as error:
        raise ExecutionError(
            f"{place} cannot be written: {error.strerror}; make room for temporary files, or set TMPDIR to "
            "another disk"
        ) from error


def location_of(place: Path) -> str:
    """What external data call a file."""
    return place.relative_to(ROOT).as_posix()


def place_of(location: str) -> Path:
    """The file at a location."""
    return Path(ROOT) / location


def content_key(model: bytes) -> str:
    """SHA-256 of a model and its weights, wherever these lie."""
    if not has_files(model):
        return sha256_bytes(model)
    proto = onnx.load_model_from_string(model)
    for tensor in proto.graph.initializer:
        for entry in tensor.external_data:
            if entry.key == "location":
                entry.value = PurePosixPath(entry.value).name
    return sha256_bytes(proto.SerializeToString(deterministic=True))


def has_files(model: bytes) -> bool:
    """Whether weights of a model lie in files."""
    return _MARK.encode() in model


def outside(model: bytes) -> Iterator[tuple[onnx.TensorProto, ExternalDataInfo]]:
    """The weights of a model that lie in files."""
    if has_files(model):
        for tensor in onnx.load_model_from_string(model).graph.initializer:
            if onnx.external_data_helper.uses_external_data(tensor):
                yield tensor, ExternalDataInfo(tensor)


def array_of(tensor: onnx.TensorProto) -> npt.NDArray[Any]:
    """A weight's values, mapped from its file where it lies in one."""
    if not onnx.external_data_helper.uses_external_data(tensor):
        return onnx.numpy_helper.to_array(tensor)
    info, dtype = ExternalDataInfo(tensor), onnx.helper.tensor_dtype_to_np_dtype(tensor.data_type)
    return np.memmap(place_of(info.location), dtype, "r", info.offset or 0, tuple(tensor.dims))


def locations(model: bytes) -> list[str]:
    """The files in which weights of a model lie, each once."""
    return sorted({info.location for _, info in outside(model)})


def outside_bytes(model: bytes) -> int:
    """Bytes of a model's weights that lie in files."""
    return sum(info.length or 0 for _, info in outside(model))


def inside(model: bytes) -> bytes:
    """The model with the weights that lie in files inside; together they fit into a message."""
    proto = onnx.load_model_from_string(model)
    for tensor in proto.graph.initializer:
        if onnx.external_data_helper.uses_external_data(tensor):
            data = np.asarray(array_of(tensor)).tobytes()
            del tensor.external_data[:]
            tensor.ClearField("data_location")
            tensor.raw_data = data
    return bytes(proto.SerializeToString(deterministic=True))


def beside(model: bytes, path: Path) -> bytes:
    """Write the weights of a model into one file.

    Returns:
        The model, to be written into the same folder.

    Raises:
        ExecutionError: there is no room.
    """
    proto = onnx.load_model_from_string(model)
    try:
        with atomic_stream(path) as stream:
            for tensor in proto.graph.initializer:
                if not onnx.external_data_helper.uses_external_data(tensor):
                    continue
                info = ExternalDataInfo(tensor)
                start, left = stream.tell(), info.length or 0
                refer(tensor, path.name, start, left)
                with place_of(info.location).open("rb") as source:
                    source.seek(info.offset or 0)
                    while left > 0:
                        piece = source.read(min(left, _PIECE))
                        stream.write(piece)
                        left -= len(piece)
    except OSError as error:
        raise cannot_write(path, error) from error
    return bytes(proto.SerializeToString(deterministic=True))


def refer(tensor: onnx.TensorProto, location: str, offset: int, length: int) -> None:
    """Let a tensor lie in a file."""
    tensor.ClearField("raw_data")
    del tensor.external_data[:]
    tensor.data_location = onnx.TensorProto.EXTERNAL
    for key, value in (("location", location), ("offset", offset), ("length", length)):
        tensor.external_data.add(key=key, value=str(value))


def _remove(made: Path, owner: int) -> None:
    if os.getpid() == owner:  # a forked process has it too
        shutil.rmtree(made, ignore_errors=True)
