"""Bring a model to a newer opset without changing what it computes or what its users see."""

from __future__ import annotations

from weakref import WeakKeyDictionary

import numpy as np
import onnx
import onnx.version_converter
import onnx_ir as ir

from distq.graph.interface import Interface
from distq.graph.large import from_proto
from distq.graph.read import graphs_in, opset_of
from distq.graph.withdrawn import flat_hardmax, rewritten

_UPGRADED: WeakKeyDictionary[ir.Model, dict[int, ir.Model]] = WeakKeyDictionary()
"""Models at newer opsets, for as long as somebody has the model itself: many networks are made of one."""


def upgraded(model: ir.Model, opset: int) -> ir.Model:
    """The model at a newer opset, not to be changed; the same model when it is there already."""
    if model.opset_imports[""] >= opset:
        return model
    known = _UPGRADED.setdefault(model, {})
    if opset not in known:
        known[opset] = _upgraded(model, opset)
    return known[opset]


def _upgraded(model: ir.Model, opset: int) -> ir.Model:
    proto = converted(ir.to_proto(model), opset)
    proto.ir_version = max(proto.ir_version, 10 if opset >= 21 else 8)
    found = from_proto(proto)
    Interface.of(model).restore(found)
    return found


def converted(proto: onnx.ModelProto, opset: int) -> onnx.ModelProto:
    """The model at a newer opset, by onnx's converter; the same model when it is there already.

    Operators that the converter changes in what they compute are mended:

    * Upsample, and Resize before opset 11, scale by x / scale; later ones by (x + 1/2) / scale - 1/2 unless
      told otherwise.
    * Hardmax before opset 13 flattens its input to a matrix, as Softmax does.
    * Pad by reflection or by the edge keeps the attribute of its value, which later ones do not have.

    It cannot replace a node, such as a Softmax before opset 13, whose output a graph inside another reads.
    Where it fails, these graphs read a copy of the output.

    Raises:
        Exception: the converter raises RuntimeError, IndexError and its own.
    """
    given = opset_of(proto)
    if given >= opset:
        return proto
    if given < 13 <= opset:
        proto = rewritten(proto, flat_hardmax)
    try:
        found = onnx.version_converter.convert_version(proto, opset)
    except RuntimeError:
        found = onnx.version_converter.convert_version(_captured_apart(proto), opset)
    if given < 11 <= opset:
        constants = _constants(found)
        for graph in graphs_in(found):
            _scale_from_the_corner(graph, constants)
            _without_pad_value(graph)
    return found


def _without_pad_value(graph: onnx.GraphProto) -> None:
    """Take the value of each Pad away, which is an input where it counts."""
    for node in graph.node:
        if node.op_type == "Pad" and not node.domain:
            kept = [attribute for attribute in node.attribute if attribute.name == "mode"]
            del node.attribute[:]
            node.attribute.extend(kept)


def _captured_apart(proto: onnx.ModelProto) -> onnx.ModelProto:
    """A copy of the model whose inner graphs read an Identity of what nodes of the main graph write."""
    copy = onnx.ModelProto()
    copy.CopyFrom(proto)
    graph, *inner = graphs_in(copy)
    taken = {name for g in (graph, *inner) for node in g.node for name in (*node.input, *node.output)}
    nodes = []
    for node in graph.node:
        nodes.append(node)
        for name in filter(None, node.output):
            readers = [n for g in inner for n in g.node if name in n.input]
            if not readers:
                continue
            same = f"{name}_captured"
            while same in taken:
                same += "_"
            taken.add(same)
            nodes.append(onnx.helper.make_node("Identity", [name], [same]))
            for reader in readers:
                reader.input[:] = [same if n == name else n for n in reader.input]
    del graph.node[:]
    graph.node.extend(nodes)
    return copy


def _constants(proto: onnx.ModelProto) -> dict[str, onnx.TensorProto]:
    found = {}
    for graph in graphs_in(proto):
        found.update({t.name: t for t in graph.initializer})
        found.update(
            {
                n.output[0]: a.t
                for n in graph.node
                if n.op_type == "Constant"
                for a in n.attribute
                if a.name == "value"
            }
        )
    return found


def _scale_from_the_corner(graph: onnx.GraphProto, tensors: dict[str, onnx.TensorProto]) -> None:
    """Give each Resize the coordinates it had before opset 11.

    ONNX Runtime takes the nearest pixel below where it enlarges, and the one above where it shrinks.
    """
    for node in graph.node:
        if node.op_type != "Resize" or node.domain:
            continue
        mode = next((a.s for a in node.attribute if a.name == "mode"), b"nearest")
        tensor = tensors.get(node.input[2]) if len(node.input) > 2 else None
        scales = None if tensor is None else onnx.numpy_helper.to_array(tensor).astype(np.float64)
        if mode == b"nearest" and scales is not None and _either_way(scales):
            continue
        node.attribute.append(onnx.helper.make_attribute("coordinate_transformation_mode", "asymmetric"))
        if mode == b"nearest":
            shrinks = scales is not None and bool((scales < 1).any())
            node.attribute.append(onnx.helper.make_attribute("nearest_mode", "ceil" if shrinks else "floor"))


def _either_way(scales: np.ndarray) -> bool:
    """Whether the nearest pixels are the same in both coordinates: multiples of one half."""
    return bool(((scales > 0) & (np.round(scales * 2) == scales * 2)).all())
