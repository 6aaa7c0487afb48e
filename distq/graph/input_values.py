"""Give inputs of a model the one value that they always have."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from pathlib import Path

import numpy as np
import onnx

from distq.errors import UsageError
from distq.graph.named import nearest
from distq.graph.read import Reader, ReadModel, graphs_in, nodes_in


def with_values(read: Reader, values: Mapping[str, float]) -> Reader:
    """A reader of model files whose networks take some inputs as constants.

    The inputs stay, so that the network is called as before, and nothing reads them any more.

    Args:
        read: reads the files.
        values: by input, one for all its elements.

    Raises:
        UsageError: when a file is read: it has no such input, one of open sizes, or one of another type.
    """
    return partial(_read, read=read, values=values) if values else read


def _read(path: Path, *, read: Reader, values: Mapping[str, float]) -> ReadModel:
    found = read(path)
    given = {tensor.name for tensor in found.proto.graph.initializer}
    inputs = {value.name: value for value in found.proto.graph.input if value.name not in given}
    for name, value in values.items():
        if name not in inputs:
            raise UsageError(
                f"--input-value names {name}, which is no input of {path}{nearest(name, inputs)}"
            )
        _fix(found.proto, name, _array(path, inputs[name], value))
    return found


def _array(path: Path, given: onnx.ValueInfoProto, value: float) -> np.ndarray:
    kind = given.type.tensor_type
    sizes = [dim.dim_value for dim in kind.shape.dim]
    if not all(size > 0 for size in sizes):
        raise UsageError(
            f"--input-value {given.name}: {path} leaves its sizes open: give them with --input-shape"
        )
    dtype = onnx.helper.tensor_dtype_to_np_dtype(kind.elem_type)
    array = np.full(sizes, value, np.float64).astype(dtype)
    if dtype.kind not in "biuf" or (dtype.kind != "f" and not np.all(array == value)):
        raise UsageError(f"--input-value {given.name}={value:g} is no {dtype.name}, as {path} takes it")
    return array


def _fix(proto: onnx.ModelProto, name: str, array: np.ndarray) -> None:
    """Let the network read a constant in the place of an input."""
    taken = {v for node in nodes_in(proto) for v in (*node.input, *node.output)}
    taken.update(tensor.name for graph in graphs_in(proto) for tensor in graph.initializer)
    fixed = f"{name}_fixed"
    while fixed in taken:
        fixed += "_"
    for graph in graphs_in(proto):
        for node in graph.node:
            node.input[:] = [fixed if v == name else v for v in node.input]
        for output in () if graph is proto.graph else graph.output:
            output.name = fixed if output.name == name else output.name
    proto.graph.initializer.append(onnx.numpy_helper.from_array(array, fixed))
