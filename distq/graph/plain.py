"""Bring a model, before anything else, to what the later steps take for granted.

Dense constants, no functions, no stored shapes.
"""

from __future__ import annotations

import numpy as np
import onnx
import onnx.inliner
import onnx_ir as ir
import onnx_ir.passes.common as common_passes

from distq.graph.large import from_proto
from distq.graph.read import graphs_in, opset_of
from distq.graph.unfused import unfused
from distq.graph.withdrawn import grouped_normalization, mean_variance_normalization, rewritten

MOST_ELEMENTS = 1 << 28
"""A sparse constant with more elements than this stays as it is."""


def make_plain(model: onnx.ModelProto) -> onnx.ModelProto:
    """The model with these rewritten; the given one may be changed in place.

    * Initializers are no inputs where all are listed as such: models before IR version 4 had to do so, and
      exporters kept to it; none is meant to be replaced.
    * Stored types and shapes of tensors inside go: they may be of another batch, and are inferred anew.
    * Sparse initializers and constants become dense ones.
    * What ONNX Runtime fused with a layer is a node of its own again.
    * MeanVarianceNormalization, and GroupNormalization of opsets 18 to 20, are written out by others.
    * Functions are written out where they are called, at the opset of the model.
    """
    _drop_listed(model)
    model = _inlined(model)
    opset = opset_of(model)
    model = rewritten(model, lambda node: unfused(node, opset))
    model = rewritten(model, lambda node: mean_variance_normalization(node, opset))
    if 18 <= opset < 21:
        model = rewritten(model, grouped_normalization)
    for graph in graphs_in(model):
        _forget_shapes(graph)
        _make_dense(graph)
    return model


def _drop_listed(model: onnx.ModelProto) -> None:
    graph = model.graph
    names = {t.name for t in graph.initializer}
    if model.ir_version < 4 or names <= {v.name for v in graph.input}:
        inputs = [v for v in graph.input if v.name not in names]
        del graph.input[:]
        graph.input.extend(inputs)
        model.ir_version = max(model.ir_version, 4)


def _inlined(model: onnx.ModelProto) -> onnx.ModelProto:
    if not model.functions:
        return model
    versions = {o.domain: o.version for o in model.opset_import}
    same = all(
        versions.get(o.domain, o.version) == o.version for f in model.functions for o in f.opset_import
    )
    if not same:
        return onnx.inliner.inline_local_functions(_with_types(model), convert_version=True)
    inlined = from_proto(model)
    common_passes.InlinePass()(inlined)
    return ir.to_proto(inlined)


def _with_types(model: onnx.ModelProto) -> onnx.ModelProto:
    """The model with the types of its values, which the converter asks for."""
    for tensor in model.graph.initializer:
        model.graph.value_info.append(
            onnx.helper.make_tensor_value_info(tensor.name, tensor.data_type, list(tensor.dims))
        )
    return onnx.shape_inference.infer_shapes(model)


def _forget_shapes(graph: onnx.GraphProto) -> None:
    """Remove stored types; of operators that onnx does not know the type and the rank stay."""
    foreign = {name for node in graph.node if node.domain for name in node.output}
    kept = [info for info in graph.value_info if info.name in foreign]
    for info in kept:
        for dim in info.type.tensor_type.shape.dim:
            dim.Clear()
    del graph.value_info[:]
    graph.value_info.extend(kept)


def _make_dense(graph: onnx.GraphProto) -> None:
    kept = []
    for sparse in graph.sparse_initializer:
        dense = _dense(sparse, sparse.values.name)
        if dense is None:
            kept.append(sparse)
        else:
            graph.initializer.append(dense)
    del graph.sparse_initializer[:]
    graph.sparse_initializer.extend(kept)
    for node in graph.node:
        if node.op_type != "Constant" or node.domain:
            continue
        for attribute in list(node.attribute):
            dense = _dense(attribute.sparse_tensor, "") if attribute.name == "sparse_value" else None
            if dense is not None:
                node.attribute.remove(attribute)
                node.attribute.append(onnx.helper.make_attribute("value", dense))


def _dense(sparse: onnx.SparseTensorProto, name: str) -> onnx.TensorProto | None:
    """The same constant as a dense tensor; its indices are flat, or one row of coordinates a value."""
    shape = tuple(sparse.dims)
    if int(np.prod(shape)) > MOST_ELEMENTS:
        return None
    values = onnx.numpy_helper.to_array(sparse.values)
    array = np.zeros(shape, values.dtype)
    if values.size:
        indices = onnx.numpy_helper.to_array(sparse.indices)
        places = indices.T if indices.ndim == 2 else np.unravel_index(indices, shape)
        array[tuple(places)] = values
    return onnx.numpy_helper.from_array(array, name)
