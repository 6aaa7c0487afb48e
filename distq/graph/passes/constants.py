"""Evaluate once what never changes: nodes of constants only, and the shapes that shape inference knows."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
import onnx_ir as ir
import onnx_ir.passes.common as common_passes
import onnxruntime

from distq.graph.edits import add_initializer
from distq.graph.values import constant

RANDOM = frozenset(
    {"RandomNormal", "RandomUniform", "RandomNormalLike", "RandomUniformLike", "Bernoulli", "Multinomial"}
)
LARGEST = 1 << 26  # elements; a larger constant is cheaper to compute than to store


class FoldConstants(ir.passes.InPlacePass):
    """Replace constant nodes by initializers, until nothing changes.

    * Shape and Size of a tensor with a known shape are constants.
    * A node whose inputs are all constants is run once, in ONNX Runtime.
    * Random generators and nodes with subgraphs stay.
    """

    def call(self, model: ir.Model) -> ir.passes.PassResult:
        """Fold in rounds: every round of shape inference can make further shapes known."""
        modified = False
        for _ in range(8):
            model = infer_shapes(model)
            folded = _fold_shapes(model.graph)
            folded |= _fold_nodes(model)
            if not folded:
                break
            modified = True
        return ir.passes.PassResult(model, modified)


def infer_shapes(model: ir.Model) -> ir.Model:
    """Shape inference with propagation of small integer data, in place."""
    common_passes.ShapeInferencePass(check_type=False, strict_mode=False, data_prop=True)(model)
    return model


def _fold_shapes(graph: ir.Graph) -> bool:
    folded = False
    for node in list(graph):
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


def _foldable(node: ir.Node, known: set[ir.Value]) -> bool:
    if (
        node.domain
        or node.op_type in RANDOM
        or any(a.type in {ir.AttributeType.GRAPH, ir.AttributeType.GRAPHS} for a in node.attributes.values())
    ):
        return False
    return all(v is None or v in known or constant(v) is not None for v in node.inputs)


def _fold_nodes(model: ir.Model) -> bool:
    graph = model.graph
    known: set[ir.Value] = set()
    nodes = []
    for node in graph:
        if _foldable(node, known):
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
    folded = False
    for node in nodes:
        arrays = [results.get(v) for v in node.outputs]
        if any(a is None and v.uses() for a, v in zip(arrays, node.outputs, strict=True)) or not any(
            a is not None for a in arrays
        ):
            continue
        if all(a is None or a.size <= LARGEST for a in arrays) and not any(
            v.is_graph_output() for v in node.outputs
        ):
            _replace(graph, node, arrays)
            folded = True
    common_passes.RemoveUnusedNodesPass()(model)
    return folded


def _evaluate(model: ir.Model, nodes: list[ir.Node], wanted: list[ir.Value]) -> list[np.ndarray]:
    used = {v for node in nodes for v in node.inputs if v is not None and constant(v) is not None}
    initializers = []
    for value in used:
        proto = onnx.numpy_helper.from_array(np.asarray(constant(value)), value.name)
        initializers.append(proto)
    outputs = [onnx.helper.make_empty_tensor_value_info(v.name or "") for v in wanted]
    graph = onnx.helper.make_graph([ir.to_proto(n) for n in nodes], "constants", [], outputs, initializers)
    opsets = [onnx.helper.make_opsetid(domain, version) for domain, version in model.opset_imports.items()]
    proto = onnx.helper.make_model(graph, opset_imports=opsets, ir_version=model.ir_version)
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = onnxruntime.InferenceSession(
        proto.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
    found: list[npt.NDArray[Any]] = session.run(None, {})
    return found


def _replace(graph: ir.Graph, node: ir.Node, arrays: list[np.ndarray | None]) -> None:
    for value, array in zip(node.outputs, arrays, strict=True):
        if array is None:
            continue
        name = value.name or node.name or node.op_type
        value.name = f"{name}_unfolded"
        value.replace_all_uses_with(add_initializer(graph, name, array))
    graph.remove(node, safe=True)
