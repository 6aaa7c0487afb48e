"""Fix the dimensions of inputs that a model leaves open."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path

import onnx

from distq.errors import UsageError
from distq.graph.named import nearest
from distq.graph.read import Reader, ReadModel


def with_shapes(read: Reader, shapes: Mapping[str, Sequence[int]]) -> Reader:
    """A reader of model files that gives inputs the sizes that the files leave open.

    Args:
        read: reads them.
        shapes: sizes by input.

    Raises:
        UsageError: when a file is read: it has no such input, or one of other dimensions.
    """
    return partial(_read, read=read, shapes=shapes) if shapes else read


def _read(path: Path, *, read: Reader, shapes: Mapping[str, Sequence[int]]) -> ReadModel:
    found = read(path)
    fix_shapes(path, found.proto, shapes)
    return found


def fix_shapes(path: Path, proto: onnx.ModelProto, shapes: Mapping[str, Sequence[int]]) -> None:
    """Write shapes into the inputs of a model, in place; what is known of other values' shapes is forgotten.

    A dimension that the file calls by a name has the same size wherever that name is.

    Args:
        path: of the file, for errors.
        proto: its model.
        shapes: sizes by input.

    Raises:
        UsageError: no such input, or one that has other dimensions.
    """
    given = {tensor.name for tensor in proto.graph.initializer}
    inputs = {value.name: value for value in proto.graph.input if value.name not in given}
    for name, sizes in shapes.items():
        if name not in inputs:
            raise UsageError(
                f"--input-shape names {name}, which is no input of {path}{nearest(name, inputs)}"
            )
        shape = inputs[name].type.tensor_type.shape
        own = [dim.dim_value if dim.dim_value > 0 else None for dim in shape.dim]
        if len(own) != len(sizes) or any(a not in {None, b} for a, b in zip(own, sizes, strict=True)):
            text = ",".join("?" if size is None else str(size) for size in own)
            raise UsageError(
                f"--input-shape {name}={','.join(map(str, sizes))} does not fit {path}, whose {name} is "
                f"{text} with ? where sizes are open: give sizes for these"
            )
        for dim, size in zip(shape.dim, sizes, strict=True):
            _fix(proto, dim.dim_param, size)
            dim.dim_value = size
    del proto.graph.value_info[:]


def _fix(proto: onnx.ModelProto, symbol: str, size: int) -> None:
    """Give a named dimension its size, in every input and output."""
    if not symbol:
        return
    for value in (*proto.graph.input, *proto.graph.output):
        for dim in value.type.tensor_type.shape.dim:
            if dim.dim_param == symbol:
                dim.dim_value = size
