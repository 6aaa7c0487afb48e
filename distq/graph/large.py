"""Networks of any size between onnx-ir and bytes: large weights go to files and stay there."""

from __future__ import annotations

import math
from collections.abc import Iterable
from pathlib import Path, PurePosixPath

import onnx
import onnx_ir as ir
from onnx.external_data_helper import ExternalDataInfo, load_external_data_for_model, uses_external_data

from distq.graph import weight_files
from distq.regular import require_regular


def from_proto(proto: onnx.ModelProto) -> ir.Model:
    """The model; weights that lie in files are read from there when they are asked for."""
    model = ir.from_proto(proto)
    if any(map(uses_external_data, proto.graph.initializer)):
        ir.external_data.set_base_dir(model.graph, weight_files.ROOT)
    return model


def serialized(model: ir.Model, *, deterministic: bool = False) -> bytes:
    """The model as ONNX bytes, with its large weights in files where it has many."""
    put_away(model)
    return bytes(ir.to_proto(model).SerializeToString(deterministic=deterministic))


def put_away(model: ir.Model) -> None:
    """Move the large weights of a large network into files; the network stays the same."""
    weights = [
        value
        for value in model.graph.initializers.values()
        if value.const_value is not None and not isinstance(value.const_value, ir.ExternalTensor)
    ]
    if sum(value.const_value.nbytes for value in weights if value.const_value is not None) <= (
        weight_files.MOST_INSIDE
    ):
        return
    for value in weights:
        tensor = value.const_value
        if tensor is None or tensor.nbytes < weight_files.LEAST_BYTES or tensor.dtype is ir.DataType.STRING:
            continue
        location = weight_files.put(tensor.tobytes())
        value.const_value = ir.ExternalTensor(
            location,
            0,
            tensor.nbytes,
            tensor.dtype,
            shape=ir.Shape(int(size) for size in tensor.shape.numpy()),
            name=value.name or "",
            base_dir=weight_files.ROOT,
        )


def outline(proto: onnx.ModelProto) -> onnx.ModelProto:
    """The model with weights that lie in files as inputs, to be checked without them."""
    absent = [t for t in proto.graph.initializer if uses_external_data(t)]
    if not absent:
        return proto
    copy = onnx.ModelProto()
    copy.CopyFrom(proto)
    listed = {value.name for value in copy.graph.input}
    names = {tensor.name for tensor in absent}
    kept = [t for t in copy.graph.initializer if t.name not in names]
    del copy.graph.initializer[:]
    copy.graph.initializer.extend(kept)
    copy.graph.input.extend(
        onnx.helper.make_tensor_value_info(t.name, t.data_type, list(t.dims))
        for t in absent
        if t.name not in listed
    )
    return copy


def put_away_inside(proto: onnx.ModelProto) -> None:
    """Move the large weights of a large network that are in its message into files."""
    inside = [t for t in proto.graph.initializer if t.HasField("raw_data")]
    if sum(len(t.raw_data) for t in inside) <= weight_files.MOST_INSIDE:
        return
    for tensor in inside:
        length = len(tensor.raw_data)
        if length >= weight_files.LEAST_BYTES and length == _bytes_of(tensor):
            weight_files.refer(tensor, weight_files.put(tensor.raw_data), 0, length)


def load_outside(proto: onnx.ModelProto, home: Path) -> None:
    """Bring in the external data of a user's model: as they are, or as references where they are large.

    Args:
        proto: changed in place.
        home: the folder of the model's file.

    Raises:
        ValueError: a file of weights is too short, or is named by a path out of the folder.
        OSError: a file cannot be read.
    """
    external = [t for t in proto.graph.initializer if uses_external_data(t)]
    large = sum(map(_bytes_of, external)) > weight_files.MOST_INSIDE
    if large:
        _refer_all((t for t in external if _bytes_of(t) >= weight_files.LEAST_BYTES), home)
    referred = [t for t in external if large and _bytes_of(t) >= weight_files.LEAST_BYTES]
    for tensor in referred:  # not seen by onnx while it loads the others
        tensor.data_location = onnx.TensorProto.DEFAULT
    load_external_data_for_model(proto, str(home))
    for tensor in referred:
        tensor.data_location = onnx.TensorProto.EXTERNAL


def _refer_all(tensors: Iterable[onnx.TensorProto], home: Path) -> None:
    places: dict[str, str] = {}
    for tensor in tensors:
        info = ExternalDataInfo(tensor)
        name = PurePosixPath(info.location)
        path, length, offset = home / name, _bytes_of(tensor), info.offset or 0
        if name.is_absolute() or ".." in name.parts:
            raise ValueError(f"the weights of {tensor.name} lie at {info.location}, outside of its folder")
        require_regular(path)
        if (info.length or length) != length or offset + length > path.stat().st_size:
            raise ValueError(f"{path} is too short for the weights of {tensor.name}")
        if info.location not in places:
            places[info.location] = weight_files.take(path)
        weight_files.refer(tensor, places[info.location], offset, length)


def _bytes_of(tensor: onnx.TensorProto) -> int:
    """Bytes of a tensor's values; 0 where these are no whole bytes."""
    if tensor.data_type not in _WHOLE:
        return 0
    size: int = onnx.helper.tensor_dtype_to_np_dtype(tensor.data_type).itemsize
    return int(math.prod(tensor.dims)) * size


_WHOLE = frozenset(
    {onnx.TensorProto.FLOAT, onnx.TensorProto.FLOAT16, onnx.TensorProto.BFLOAT16, onnx.TensorProto.DOUBLE}
    | {onnx.TensorProto.INT8, onnx.TensorProto.INT16, onnx.TensorProto.INT32, onnx.TensorProto.INT64}
    | {onnx.TensorProto.UINT8, onnx.TensorProto.UINT16, onnx.TensorProto.UINT32, onnx.TensorProto.UINT64}
)
