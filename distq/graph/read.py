"""Read a user's ONNX file, and say what is wrong with one that cannot be used."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path

import onnx
from google.protobuf.message import DecodeError, EncodeError  # type: ignore[import-untyped]  # protobuf ships no types
from onnx.external_data_helper import uses_external_data

from distq.errors import ModelError
from distq.graph.check import check
from distq.graph.large import load_outside, outline, put_away_inside
from distq.graph.weight_files import content_key
from distq.regular import read_regular

LARGEST_BYTES = (1 << 31) - 1
"""A protobuf message cannot be larger; weights beyond lie in files beside it."""

_QUANTIZED = frozenset(
    {"QuantizeLinear", "DequantizeLinear", "DynamicQuantizeLinear", "ConvInteger", "MatMulInteger"}
)
_QUANTIZED_PREFIXES = (
    "QLinear",
    "QOrdered",
    "QGemm",
    "QAttention",
    "QMoE",
    "QEmbedLayer",
    "DynamicQuantize",
    "MatMulInteger",
)
"""Of operators of the ONNX standard and of ONNX Runtime's domain com.microsoft."""


@dataclass(frozen=True)
class ReadModel:
    """A model as it was read from a file of any format.

    ``sha256`` identifies the files it came from; ``notes`` are for the user. Of a file that is no ONNX,
    ``layers`` has what its own layers write, in the file's words; the node of a layer has the layer's name.
    """

    proto: onnx.ModelProto
    sha256: str
    notes: tuple[str, ...] = ()
    layers: Mapping[str, tuple[str, ...]] = field(default_factory=dict)


Reader = Callable[[Path], ReadModel]
"""Reads a model's file anew each time, since loading changes what was read."""


def read_onnx(path: Path) -> ReadModel:
    """Read an ONNX file; see :func:`read_proto`."""
    return ReadModel(*read_proto(path))


def read_proto(path: Path) -> tuple[onnx.ModelProto, str]:
    """Read and check an ONNX file with its external data.

    Nodes that share a name are given one of their own, and the ONNX domain is called ''.

    Returns:
        The model and the SHA-256 of the file, or of the model put together where data lies beside it.

    Raises:
        ModelError: missing, or corrupt.
    """
    try:
        data = read_regular(path, LARGEST_BYTES)
    except OSError as error:
        raise ModelError(
            f"cannot read the model {path}: {error.strerror}; give the path of an ONNX file"
        ) from error
    try:
        proto = onnx.load_model_from_string(data)
        beside = _has_external(proto)
        load_outside(proto, path.parent)
        put_away_inside(proto)
        _name_domain(proto)
        check(outline(proto))
    except (
        DecodeError,
        EncodeError,
        onnx.checker.ValidationError,
        ValueError,
        OSError,
        RuntimeError,
    ) as error:
        reason = str(error).strip().split("\n")[0]
        raise ModelError(f"{path} is not a valid ONNX model: {reason}; export it again") from error
    if not proto.graph.node:
        raise ModelError(f"{path} is not an ONNX model, or has no nodes: export it again")
    if beside:
        data = proto.SerializeToString(deterministic=True)
    _name_apart(proto)
    return proto, content_key(data)


def graphs_in(model: onnx.ModelProto) -> Iterator[onnx.GraphProto]:
    """The graph of a model and all inside it, those of its functions included."""
    yield from _with_inner(model.graph)
    for function in model.functions:
        for node in function.node:
            yield from _inside(node)


def nodes_in(model: onnx.ModelProto) -> Iterator[onnx.NodeProto]:
    """The nodes of all graphs and functions of a model."""
    for graph in graphs_in(model):
        yield from graph.node
    for function in model.functions:
        yield from function.node


def _has_external(model: onnx.ModelProto) -> bool:
    """Whether values of constants lie in other files."""
    constants = (t for graph in graphs_in(model) for t in graph.initializer)
    given = (t for node in nodes_in(model) for a in node.attribute for t in (a.t, *a.tensors))
    return any(map(uses_external_data, chain(constants, given)))


def opset_of(model: onnx.ModelProto) -> int:
    """The opset of the ONNX domain; 0 where the model names none."""
    return next((o.version for o in model.opset_import if not o.domain), 0)


def quantized_operator(model: onnx.ModelProto) -> str | None:
    """An operator on integers that stand for real numbers, if the model has one: it is quantized already."""
    for node in nodes_in(model):
        known = node.domain in {"", "com.microsoft"}
        if known and (node.op_type in _QUANTIZED or node.op_type.startswith(_QUANTIZED_PREFIXES)):
            return str(node.op_type)
    return None


def _name_domain(proto: onnx.ModelProto) -> None:
    """Call the ONNX domain '' everywhere; it has another name, ``ai.onnx``."""
    for opset in (*proto.opset_import, *(o for f in proto.functions for o in f.opset_import)):
        opset.domain = "" if opset.domain == "ai.onnx" else opset.domain
    for node in nodes_in(proto):
        if node.domain == "ai.onnx":
            node.domain = ""


def _name_apart(proto: onnx.ModelProto) -> None:
    """Give nodes that share a name one of their own, as ONNX Runtime wants it."""
    seen: set[str] = set()
    for graph in _with_inner(proto.graph):
        for node in graph.node:
            if node.name:
                node.name = free_name(node.name, node.output[0] if node.output else "", seen)
                seen.add(node.name)


def free_name(name: str, output: str, seen: Collection[str]) -> str:
    """A node's name: with its first output appended where it is taken, and a number if need be."""
    if name in seen:
        name = f"{name}_{output}"
    stem, counter = name, 1
    while name in seen:
        name, counter = f"{stem}_{counter}", counter + 1
    return name


def _with_inner(graph: onnx.GraphProto) -> Iterator[onnx.GraphProto]:
    yield graph
    for node in graph.node:
        yield from _inside(node)


def _inside(node: onnx.NodeProto) -> Iterator[onnx.GraphProto]:
    for attribute in node.attribute:
        if attribute.type == onnx.AttributeProto.GRAPH:
            yield from _with_inner(attribute.g)
        for graph in attribute.graphs:
            yield from _with_inner(graph)
