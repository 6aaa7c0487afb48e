"""Bring a network in float16 to float32, in which layers are measured and quantized.

Networks are stored in float16 for their size, or for a GPU. INT8 is compared with the same network in
float32, which has the same weights and rounds less in between.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, TypeProto

from distq.graph import weight_files
from distq.graph.large import put_away_inside
from distq.graph.read import Reader, ReadModel, graphs_in, nodes_in

_TYPES = frozenset({"to", "dtype", "output_datatype", "stash_type"})
"""Attributes that are a type: of Cast, random generators, windows and normalizations."""


def widened(read: Reader) -> Reader:
    """A reader of model files that gives networks in float16 as the same in float32.

    Inputs and outputs keep their types, behind a Cast. A model that has a sequence of float16 as an input or
    output is given as it is, as a sequence cannot be cast.
    """
    return read if isinstance(read, partial) and read.func is _read else partial(_read, read=read)


def _read(path: Path, *, read: Reader) -> ReadModel:
    found = read(path)
    widen(found.proto)
    return found


def widen(model: onnx.ModelProto) -> None:
    """Make every float16 of a model float32, in place, as :func:`widened` says."""
    graph = model.graph
    interface = [v.type for v in (*graph.input, *graph.output)]
    if not _has_half(model) or any(not t.HasField("tensor_type") and _is_half(t) for t in interface):
        return
    for tensor in [t for inner in graphs_in(model) for t in inner.initializer]:
        _widen_tensor(tensor)
    for attribute in [a for node in nodes_in(model) for a in node.attribute]:
        if attribute.name in _TYPES and attribute.i == TensorProto.FLOAT16:
            attribute.i = TensorProto.FLOAT
        for tensor in (attribute.t, *attribute.tensors):
            _widen_tensor(tensor)
        for kind in (attribute.tp, *attribute.type_protos):
            _widen_type(kind)
    _cast_interface(model)
    for inner in graphs_in(model):
        within = () if inner is graph else (*inner.input, *inner.output)
        for value in (*inner.value_info, *within):
            _widen_type(value.type)
    put_away_inside(model)


def _has_half(model: onnx.ModelProto) -> bool:
    attributes = [a for node in nodes_in(model) for a in node.attribute]
    tensors = [t for inner in graphs_in(model) for t in inner.initializer]
    return (
        any(t.data_type == TensorProto.FLOAT16 for t in (*tensors, *(a.t for a in attributes)))
        or any(a.name in _TYPES and a.i == TensorProto.FLOAT16 for a in attributes)
        or any(_is_half(v.type) for v in (*model.graph.input, *model.graph.output))
    )


def _cast_interface(model: onnx.ModelProto) -> None:
    """Let the network read its inputs and write its outputs in float32.

    A default of an input keeps the input's type. An output that is an input, or a constant, has it already.
    """
    graph = model.graph
    taken = {name for n in nodes_in(model) for name in (*n.input, *n.output)}
    inputs = [v.name for v in graph.input if _is_half(v.type)]
    outputs = [v.name for v in graph.output if _is_half(v.type) and v.name not in inputs]
    wide = {name: _free(f"{name}_float32", taken) for name in (*inputs, *outputs)}
    for inner in graphs_in(model):
        for node in inner.node:
            node.input[:] = [wide.get(name, name) for name in node.input]
            node.output[:] = [wide.get(name, name) for name in node.output]
        for value in () if inner is graph else inner.output:
            value.name = wide.get(value.name, value.name)
    for tensor in graph.initializer:
        if tensor.name in inputs:
            _store(tensor, onnx.numpy_helper.to_array(tensor, weight_files.ROOT).astype(np.float16))
        tensor.name = wide[tensor.name] if tensor.name in outputs else tensor.name
    nodes = [
        *(_cast(name, wide[name], TensorProto.FLOAT) for name in inputs),
        *graph.node,
        *(_cast(wide[name], name, TensorProto.FLOAT16) for name in outputs),
    ]
    del graph.node[:]
    graph.node.extend(nodes)


def _cast(source: str, target: str, to: int) -> onnx.NodeProto:
    return onnx.helper.make_node("Cast", [source], [target], name=f"{target}_cast", to=to)


def _free(name: str, taken: set[str]) -> str:
    while name in taken:
        name += "_"
    taken.add(name)
    return name


def _widen_tensor(tensor: TensorProto) -> None:
    if tensor.data_type == TensorProto.FLOAT16:
        _store(tensor, onnx.numpy_helper.to_array(tensor, weight_files.ROOT).astype(np.float32))


def _store(tensor: TensorProto, values: np.ndarray) -> None:
    tensor.CopyFrom(onnx.numpy_helper.from_array(values, tensor.name))


def _is_half(kind: TypeProto) -> bool:
    inner = _inner(kind)
    return _is_half(inner) if inner is not None else kind.tensor_type.elem_type == TensorProto.FLOAT16


def _widen_type(kind: TypeProto) -> None:
    inner = _inner(kind)
    if inner is not None:
        _widen_type(inner)
    elif kind.tensor_type.elem_type == TensorProto.FLOAT16:
        kind.tensor_type.elem_type = TensorProto.FLOAT


def _inner(kind: TypeProto) -> TypeProto | None:
    """What a sequence or an optional is of."""
    if kind.HasField("sequence_type"):
        return kind.sequence_type.elem_type
    return kind.optional_type.elem_type if kind.HasField("optional_type") else None
