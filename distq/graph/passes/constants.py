"""Evaluate once what never changes: nodes of constants only, and the shapes that shape inference knows."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import onnx
import onnx_ir as ir
import onnxruntime

from distq.graph.edits import add_initializer
from distq.graph.passes.branches import take_branches
from distq.graph.passes.tidy import DropUnused
from distq.graph.shapes import infer_shapes
from distq.graph.values import constant, subgraphs
from distq.graph.weight_files import WEIGHTS_FOLDER

RANDOM = frozenset(
    {"RandomNormal", "RandomUniform", "RandomNormalLike", "RandomUniformLike", "Bernoulli", "Multinomial"}
)
LARGEST = 1 << 26  # elements; a larger constant is not even computed
ROOM = 1 << 20
"""Bytes that a constant may take whatever it is computed from; beyond, twice the bytes of what that is."""


class FoldConstants(ir.passes.InPlacePass):
    """Replace constant nodes by initializers, until nothing changes.

    * Shape and Size of a tensor with a known shape are constants; where there is an If, which may depend on
      it, also what Gather or Slice takes of a Shape whose other dimensions are open.
    * A node whose inputs are all constants is run once, in ONNX Runtime.
    * Of an If whose condition is a constant the branch that is taken stands in its place.
    * What only spreads a few values over a large tensor (Expand, Tile, ConstantOfShape) stays.
    * Random generators, nodes with subgraphs, strings and sequences stay.
    """

    def call(self, model: ir.Model) -> ir.passes.PassResult:
        """Fold in rounds: every round of shape inference can make further shapes known."""
        modified = False
        grown: set[ir.Node] = set()
        for _ in range(8):
            model = infer_shapes(model)
            folded = _fold_shapes(model.graph)
            folded |= _fold_nodes(model, grown)
            folded |= take_branches(model.graph)
            if not folded:
                break
            modified = True
        return ir.passes.PassResult(model, modified)


def _fold_shapes(graph: ir.Graph) -> bool:
    folded, decides = False, any(node.op_type == "If" for node in graph)
    for node in list(graph):
        taken = _taken_of_shape(node) if decides else None
        if taken is not None:
            _replace(graph, node, [taken])
            folded = True
        if node.op_type not in {"Shape", "Size"} or node.domain or node.inputs[0] is None:
            continue
        shape = node.inputs[0].shape
        if shape is None or not all(isinstance(d, int) for d in shape):
            continue
        dims = np.array([int(d) for d in shape.numpy()], np.int64)
        if node.op_type == "Size":
            value = np.array(dims.prod(), np.int64)
        else:
            start = node.attributes.get_int("start", 0)
            end = node.attributes.get_int("end", len(dims))
            value = dims[start:end]
        _replace(graph, node, [value])
        folded = True
    return folded


def _taken_of_shape(node: ir.Node) -> np.ndarray | None:
    """What a Gather or Slice takes of a shape, where all of that is known."""
    source = node.inputs[0].producer() if node.inputs and node.inputs[0] is not None else None
    if (
        node.domain
        or source is None
        or source.op_type != "Shape"
        or source.domain
        or source.inputs[0] is None
    ):
        return None
    shape, parts = source.inputs[0].shape, [constant(v) for v in node.inputs[1:]]
    if shape is None or any(part is None for part in parts):
        return None
    start = source.attributes.get_int("start", 0)
    own = list(shape)[start : source.attributes.get_int("end", len(shape))]
    places, numbers = np.arange(len(own)), [np.asarray(part) for part in parts]
    if node.op_type == "Gather" and np.all((numbers[0] < len(own)) & (numbers[0] >= -len(own))):
        taken = np.asarray(places[numbers[0]])
    elif node.op_type == "Slice" and len(numbers) > 1:
        step = int(numbers[3].item()) if len(numbers) > 3 else 1
        taken = places[int(numbers[0].item()) : int(numbers[1].item()) : step]
    else:
        return None
    dims = [own[i] for i in taken.ravel()]
    if not all(isinstance(d, int) for d in dims):
        return None
    return np.array([int(d) for d in dims], np.int64).reshape(taken.shape)


def _foldable(node: ir.Node, known: set[ir.Value]) -> bool:
    if node.domain or node.op_type in RANDOM or any(subgraphs(node)):
        return False
    if not all(map(_holds_numbers, node.outputs)):
        return False
    return all(v is None or v in known or _is_number(v) for v in node.inputs)


def _is_number(value: ir.Value) -> bool:
    found = constant(value)
    return found is not None and found.dtype.kind not in "OSU"


def _holds_numbers(value: ir.Value) -> bool:
    """Whether a value is, as far as is known, a tensor of numbers of a size that can be computed."""
    if value.type is not None and not isinstance(value.type, ir.TensorType):
        return False
    if value.dtype is ir.DataType.STRING:
        return False
    dims = [d for d in value.shape or () if isinstance(d, int)]
    return math.prod(dims) <= LARGEST


def _fold_nodes(model: ir.Model, grown: set[ir.Node]) -> bool:
    """Fold what can be; nodes with results too large for what they are made of are added to ``grown``."""
    graph = model.graph
    known: set[ir.Value] = set()
    nodes = []
    for node in graph:
        if node not in grown and _foldable(node, known):
            nodes.append(node)
            known.update(node.outputs)
    members = set(nodes)
    wanted = [
        value
        for node in nodes
        for value in node.outputs
        if value.is_graph_output() or any(user not in members for user, _ in value.uses())
    ]
    if not wanted:
        return False
    results = dict(zip(wanted, _evaluate(model, nodes, wanted), strict=True))
    room = _room(nodes)
    folded = False
    for node in nodes:
        arrays = [results.get(v) for v in node.outputs]
        if any(a is None and v.uses() for a, v in zip(arrays, node.outputs, strict=True)) or not any(
            a is not None for a in arrays
        ):
            continue
        if any(a is not None and a.nbytes > room[node] for a in arrays):
            grown.add(node)
            folded = True  # another round folds what it reads
        elif not any(v.is_graph_output() for v in node.outputs):
            _replace(graph, node, arrays)
            folded = True
    DropUnused()(model)
    return folded


def _room(nodes: list[ir.Node]) -> dict[ir.Node, int]:
    """Bytes that each node's result may take."""
    sources: dict[ir.Value | None, frozenset[ir.Value]] = {}
    found = {}
    for node in nodes:
        inputs = [v for v in node.inputs if v is not None]
        read = frozenset().union(*(sources.get(v, frozenset({v})) for v in inputs))
        sources.update(dict.fromkeys(node.outputs, read))
        found[node] = max(ROOM, 2 * sum(v.const_value.nbytes for v in read if v.const_value is not None))
    return found


def _evaluate(model: ir.Model, nodes: list[ir.Node], wanted: list[ir.Value]) -> list[np.ndarray]:
    used = {v for node in nodes for v in node.inputs if v is not None and constant(v) is not None}
    initializers = [_as_proto(value) for value in used]
    outputs = [onnx.helper.make_empty_tensor_value_info(v.name or "") for v in wanted]
    graph = onnx.helper.make_graph([ir.to_proto(n) for n in nodes], "constants", [], outputs, initializers)
    opsets = [onnx.helper.make_opsetid(domain, version) for domain, version in model.opset_imports.items()]
    proto = onnx.helper.make_model(graph, opset_imports=opsets, ir_version=model.ir_version)
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.add_session_config_entry(*WEIGHTS_FOLDER)
    session = onnxruntime.InferenceSession(
        proto.SerializeToString(), options, providers=["CPUExecutionProvider"], enable_fallback=0
    )
    found: list[np.ndarray[Any, Any]] = session.run(None, {})
    return found


def _as_proto(value: ir.Value) -> onnx.TensorProto:
    """A constant under the name of its value; one that lies in a file stays there."""
    if isinstance(value.const_value, ir.ExternalTensor):
        proto = ir.to_proto(value.const_value)
        proto.name = value.name or ""
        return proto
    return onnx.numpy_helper.from_array(np.asarray(constant(value)), value.name)


def _replace(graph: ir.Graph, node: ir.Node, arrays: list[np.ndarray | None]) -> None:
    for value, array in zip(node.outputs, arrays, strict=True):
        if array is None:
            continue
        name = value.name or node.name or node.op_type
        value.name = f"{name}_unfolded"
        value.replace_all_uses_with(add_initializer(graph, name, array))
    graph.remove(node, safe=True)
