"""Bring a network in float16, bfloat16 or float64 to float32, in which layers are measured and quantized.

Networks are stored in 16 bits for their size, or for a GPU. INT8 is compared with the same network in
float32, which has the same weights and rounds less in between. One in float64 is rounded to float32 first.
"""

from __future__ import annotations

from collections.abc import Set as AbstractSet
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, TypeProto

from distq.graph import weight_files
from distq.graph.large import put_away_inside
from distq.graph.read import Reader, ReadModel, graphs_in, nodes_in
from distq.graph.stored_weights import dequantize_weights

_SMALL = frozenset({TensorProto.FLOAT16, TensorProto.BFLOAT16})
_OTHERS = _SMALL | {TensorProto.DOUBLE}

_TYPES = frozenset({"to", "dtype", "output_datatype", "stash_type"})
"""Attributes that are a type: of Cast, random generators, windows and normalizations."""


def widened(read: Reader) -> Reader:
    """A reader of model files that gives networks in float16, bfloat16 or float64 as the same in float32.

    Weights that are stored as integers become float, too. Inputs and outputs keep their types, behind a Cast.
    A model is given as it is where a sequence of another float type is an input or output, as a sequence
    cannot be cast, or one is in bfloat16, which nobody can feed. So is one with few numbers in float64, which
    may count with them.
    """
    return read if isinstance(read, partial) and read.func is _read else partial(_read, read=read)


def _read(path: Path, *, read: Reader) -> ReadModel:
    found = read(path)
    notes = found.notes
    if count := dequantize_weights(found.proto):
        notes = (*notes, f"{count} weights are stored as integers with scales: they are taken as float")
    widen(found.proto)
    return replace(found, notes=notes)


def widen(model: onnx.ModelProto) -> None:
    """Make all of a model that is in 16 or 64 bits float32, in place, as :func:`widened` says."""
    graph = model.graph
    interface = [v.type for v in (*graph.input, *graph.output)]
    others = _types_of(model)
    sequences = [t for t in interface if not t.HasField("tensor_type")]
    if not others or any(_element(t) in others for t in sequences):
        return
    if any(_element(t) == TensorProto.BFLOAT16 for t in interface):  # numpy has no arrays of it
        return
    for tensor in [t for inner in graphs_in(model) for t in inner.initializer]:
        _widen_tensor(tensor, others)
    for attribute in [a for node in nodes_in(model) for a in node.attribute]:
        if attribute.name in _TYPES and attribute.i in others:
            attribute.i = TensorProto.FLOAT
        for tensor in (attribute.t, *attribute.tensors):
            _widen_tensor(tensor, others)
        for kind in (attribute.tp, *attribute.type_protos):
            _widen_type(kind, others)
    _cast_interface(model, others)
    for inner in graphs_in(model):
        within = () if inner is graph else (*inner.input, *inner.output)
        for value in (*inner.value_info, *within):
            _widen_type(value.type, others)
    put_away_inside(model)


def in_double(model: onnx.ModelProto) -> bool:
    """Whether a network computes in float64, for which ONNX Runtime has few kernels."""
    return TensorProto.DOUBLE in _types_of(model)


def _types_of(model: onnx.ModelProto) -> frozenset[int]:
    """The float types beside float32 that a network computes in: float64 where most of its constants are."""
    attributes = [a for node in nodes_in(model) for a in node.attribute]
    constants = [t for inner in graphs_in(model) for t in inner.initializer]
    constants += [t for a in attributes for t in (a.t, *a.tensors)]
    sizes = dict.fromkeys((*_OTHERS, TensorProto.FLOAT), 0)
    for tensor in constants:
        if tensor.data_type in sizes:
            sizes[tensor.data_type] += max(1, int(np.prod(tensor.dims)))
    interface = {_element(v.type) for v in (*model.graph.input, *model.graph.output)}
    named = {a.i for a in attributes if a.name in _TYPES}
    found = _SMALL & ({kind for kind, size in sizes.items() if size} | interface | named)
    in_double = sizes.pop(TensorProto.DOUBLE) > sum(sizes.values())
    return found | {TensorProto.DOUBLE} if in_double else found


def _cast_interface(model: onnx.ModelProto, others: AbstractSet[int]) -> None:
    """Let the network read its inputs and write its outputs in float32.

    A default of an input keeps the input's type. An output that is an input, or a constant, has it already.
    """
    graph = model.graph
    taken = {name for n in nodes_in(model) for name in (*n.input, *n.output)}
    inputs = {v.name: kind for v in graph.input if (kind := _element(v.type)) in others}
    outputs = {
        v.name: kind for v in graph.output if (kind := _element(v.type)) in others and v.name not in inputs
    }
    wide = {name: _free(f"{name}_float32", taken) for name in (*inputs, *outputs)}
    for inner in graphs_in(model):
        for node in inner.node:
            node.input[:] = [wide.get(name, name) for name in node.input]
            node.output[:] = [wide.get(name, name) for name in node.output]
        for value in () if inner is graph else inner.output:
            value.name = wide.get(value.name, value.name)
    for tensor in graph.initializer:
        if tensor.name in inputs:
            values = onnx.numpy_helper.to_array(tensor, weight_files.ROOT)
            half = inputs[tensor.name] == TensorProto.FLOAT16
            _store(tensor, values.astype(np.float16 if half else np.float64))
        tensor.name = wide[tensor.name] if tensor.name in outputs else tensor.name
    nodes = [
        *(_cast(name, wide[name], TensorProto.FLOAT) for name in inputs),
        *graph.node,
        *(_cast(wide[name], name, kind) for name, kind in outputs.items()),
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


def _widen_tensor(tensor: TensorProto, others: AbstractSet[int]) -> None:
    if tensor.data_type in others:
        _store(tensor, onnx.numpy_helper.to_array(tensor, weight_files.ROOT).astype(np.float32))


def _store(tensor: TensorProto, values: np.ndarray) -> None:
    tensor.CopyFrom(onnx.numpy_helper.from_array(values, tensor.name))


def _element(kind: TypeProto) -> int:
    """What a tensor, or a sequence or an optional of tensors, is of."""
    inner = _inner(kind)
    return int(kind.tensor_type.elem_type) if inner is None else _element(inner)


def _widen_type(kind: TypeProto, others: AbstractSet[int]) -> None:
    inner = _inner(kind)
    if inner is not None:
        _widen_type(inner, others)
    elif kind.tensor_type.elem_type in others:
        kind.tensor_type.elem_type = TensorProto.FLOAT


def _inner(kind: TypeProto) -> TypeProto | None:
    """What a sequence or an optional is of."""
    if kind.HasField("sequence_type"):
        return kind.sequence_type.elem_type
    return kind.optional_type.elem_type if kind.HasField("optional_type") else None
