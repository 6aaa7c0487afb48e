"""Types and shapes of all values of a model, inferred by onnx."""

from __future__ import annotations

import onnx
import onnx_ir as ir

from distq.graph.values import subgraphs

_SMALL_BYTES = 1000
"""Of larger constants only the shape takes part: shape arithmetic has none, and copies take time."""


def infer_shapes(model: ir.Model) -> ir.Model:
    """Infer types and shapes, small integer data being followed through the graph, in place.

    Where inference fails the model stays as it is, but for the order of its constants: large ones stand last.
    """
    for value in [v for v in model.graph.initializers.values() if _is_large(v)]:
        del model.graph.initializers[value.name or ""]
        model.graph.initializers.add(value)
    try:
        inferred = onnx.shape_inference.infer_shapes(
            _outline(model), check_type=False, strict_mode=False, data_prop=True
        )
    except Exception:  # noqa: BLE001  # onnx raises its own and RuntimeError; shapes are then unknown
        return model
    if any(any(subgraphs(node)) for node in model.graph):
        for graph, found in zip(model.graphs(), ir.from_proto(inferred).graphs(), strict=True):
            values = ir.convenience.create_value_mapping(found)
            for name, value in ir.convenience.create_value_mapping(graph).items():
                if name in values:
                    _take(value, values[name].type, values[name].shape)
    else:
        _take_all(model.graph, inferred.graph)
    return model


def _take(value: ir.Value, kind: ir.TypeProtocol | None, shape: ir.Shape | None) -> None:
    """What is known of a value, as far as it is."""
    if kind is not None:
        value.type = kind
    if shape is not None:
        value.shape = shape


def _take_all(graph: ir.Graph, found: onnx.GraphProto) -> None:
    """What a graph without subgraphs is found to hold; only this is read of what onnx gives back."""
    shapes: dict[bytes, ir.Shape | None] = {}  # frozen, so that values of one shape may share it
    types = {info.name: info.type for info in (*found.value_info, *found.output, *found.input)}
    values = [*graph.inputs, *(v for node in graph for v in node.outputs), *graph.initializers.values()]
    for value in values:
        kind = types.get(value.name or "")
        if kind is not None:
            key = kind.SerializeToString()
            if key not in shapes:
                shapes[key] = ir.serde.deserialize_type_proto_for_shape(kind)
            _take(value, ir.serde.deserialize_type_proto_for_type(kind), shapes[key])
        elif (tensor := value.const_value) is not None:
            sizes = [size if isinstance(size, int) else None for size in tensor.shape]
            _take(value, ir.TensorType(tensor.dtype), ir.Shape(sizes, frozen=True))


def settle_outputs(model: ir.Model) -> None:
    """Replace the shapes that graphs declare for their outputs by inferred ones, where these are known.

    Declared shapes may be of another batch; what is derived from them would be wrong.
    """
    outputs = [value for graph in model.graphs() for value in graph.outputs if not value.is_graph_input()]
    declared = [value.shape for value in outputs]
    for value in outputs:
        value.shape = None
    infer_shapes(model)
    for value, shape in zip(outputs, declared, strict=True):
        if value.shape is None:
            value.shape = shape


def _is_large(initializer: ir.Value) -> bool:
    return initializer.const_value is not None and initializer.const_value.nbytes > _SMALL_BYTES


def _outline(model: ir.Model) -> onnx.ModelProto:
    """The model with large constants as inputs.

    ``ir.to_proto`` would look for the kind of each of these objects, for longer than writing it takes.
    """
    graph = model.graph
    listed = {v.name for v in graph.inputs}
    inputs = [ir.serde.serialize_value(v) for v in graph.inputs]
    constants = []
    for name, value in graph.initializers.items():
        tensor = value.const_value
        if tensor is None:
            continue
        if not _is_large(value):
            constants.append(ir.serde.serialize_tensor(tensor))
            constants[-1].name = name  # of a lifted constant the tensor has another
        if name not in listed:
            shape = [d if isinstance(d, int) else None for d in tensor.shape]
            inputs.append(onnx.helper.make_tensor_value_info(name, int(tensor.dtype), shape))
    known = [v for node in graph for v in node.outputs if v.name and v.type and not v.is_graph_output()]
    proto = onnx.helper.make_graph(
        [ir.serde.serialize_node(node) for node in graph],
        graph.name or "graph",
        inputs,
        [ir.serde.serialize_value(v) for v in graph.outputs],
        constants,
        value_info=[ir.serde.serialize_value(v) for v in known],
    )
    for node in proto.node:
        if node.op_type == "STFT" and all(one.name != "onesided" for one in node.attribute):
            # the operator's default is 1, and onnx infers the shape of 0 (onnx/defs/math/defs.cc)
            node.attribute.append(onnx.helper.make_attribute("onesided", 1))
    opsets = [onnx.helper.make_opsetid(domain, version) for domain, version in model.opset_imports.items()]
    return onnx.helper.make_model(proto, opset_imports=opsets, ir_version=model.ir_version)
