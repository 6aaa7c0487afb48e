"""Write a plan and its numbers into the model as QuantizeLinear and DequantizeLinear nodes."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir
import onnx_ir.passes.common as common_passes

from distq.graph.captured import separate_captured
from distq.graph.check import check_made
from distq.graph.convert import upgraded
from distq.graph.edits import register, take_over
from distq.graph.interface import Interface
from distq.graph.layers import Layer
from distq.graph.plan import Plan
from distq.graph.state import PARTS, Constants, Names, State, constants, has_bias
from distq.graph.values import values_of


def export(model: ir.Model, plan: Plan, state: State) -> bytes:
    """The QDQ model as ONNX bytes, checked by onnx.checker; the same bytes for the same numbers."""
    proto = ir.to_proto(quantized_model(model, plan, state))
    proto.producer_name, proto.producer_version = "distq", ""
    check_made(proto, ir.to_proto(model))
    return bytes(proto.SerializeToString(deterministic=True))


def quantized_model(model: ir.Model, plan: Plan, state: State) -> ir.Model:
    """A copy of the model with quantizers where the plan puts them and integer weights and biases."""
    copy = upgraded(model.clone(), max(plan.opset, model.opset_imports[""]))
    names = Names.free_in(model)
    writer = _Writer(copy, plan, names, constants(plan, state, names))
    writer.drop_saturated()
    nodes = {node.name or "": node for node in copy.graph}
    for layer in plan.layers:
        writer.quantize_layer(layer, nodes[layer.node])
    values = {value.name or "": value for value in values_of(copy.graph)}
    for quantizer in plan.quantizers:
        for tensor in quantizer.tensors:
            writer.quantize_tensor(values[tensor], quantizer.name)
    separate_captured(copy.graph, names.captured)
    common_passes.RemoveUnusedNodesPass()(copy)
    copy.graph.sort()
    Interface.of(model).restore(copy)
    return copy


class _Writer:
    """Edits one graph in place."""

    def __init__(self, model: ir.Model, plan: Plan, names: Names, numbers: Constants) -> None:
        self.graph = model.graph
        self.plan = plan
        self.names = names
        self.numbers = numbers
        self.compute = {layer.node for layer in plan.layers}
        self.constants: dict[str, ir.Value] = {}

    def drop_saturated(self) -> None:
        """Take out each Relu and Clip whose work the quantizer behind it does."""
        for node in list(self.graph):
            if node.name in self.plan.dropped and node.inputs[0] is not None:
                take_over(node.inputs[0], node)

    def constant(self, name: str) -> ir.Value:
        if name not in self.constants:
            self.constants[name] = register(self.graph, name, np.asarray(self.numbers[name]))
        return self.constants[name]

    def quantize_layer(self, layer: Layer, node: ir.Node) -> None:
        """Give a compute node its integer weight and bias behind DequantizeLinear, or a float bias."""
        if layer.weight is None:
            return
        node.replace_input_with(1, self.dequantize(self.names.weight(layer.name), layer.axis, node))
        if has_bias(layer):
            if len(node.inputs) < 3:
                node.resize_inputs(3)
            if self.plan.float_biases:
                node.replace_input_with(2, self.constant(self.names.float_bias(layer.name)))
            else:
                node.replace_input_with(2, self.dequantize(self.names.bias(layer.name), 0, node))

    def dequantize(self, stem: str, axis: int | None, before: ir.Node) -> ir.Value:
        """Put a DequantizeLinear of constants before a node; one scale for all has no axis."""
        parts = [self.constant(f"{stem}_{part}") for part in PARTS]
        one_scale = self.numbers[f"{stem}_scale"].ndim == 0
        attributes = {} if axis is None or one_scale else {"axis": axis}
        node = ir.node("DequantizeLinear", parts, attributes, name=f"{stem}_dequantize")
        node.outputs[0].name = f"{stem}_dequantized"
        self.graph.insert_before(before, node)
        return node.outputs[0]

    def quantize_tensor(self, value: ir.Value, quantizer: str) -> None:
        """Put a quantizer behind a tensor.

        All its readers read it, or its compute layers alone where quantizers stand at layer inputs.
        """
        tensor = value.name or ""
        uses = [(use.node, use.idx) for use in value.uses()]
        pair = [self.constant(self.names.scale(quantizer)), self.constant(self.names.zero_point(quantizer))]
        quantize = ir.node("QuantizeLinear", [value, *pair], name=f"{tensor}{self.names.tag}_quantize")
        quantize.outputs[0].name = self.names.quantized(tensor)
        dequantize = ir.node(
            "DequantizeLinear", [quantize.outputs[0], *pair], name=f"{tensor}{self.names.tag}_dequantize"
        )
        out = dequantize.outputs[0]
        out.name = self.names.dequantized(tensor)
        out.shape, out.type = value.shape, value.type
        producer = value.producer()
        if producer is None:
            self.graph.insert_before(self.graph[0], [quantize, dequantize])
        else:
            self.graph.insert_after(producer, [quantize, dequantize])
        everywhere = self.plan.target.placement == "everywhere"
        for node, position in uses:
            if everywhere or (node.name in self.compute and position < 2):
                node.replace_input_with(position, out)
        if everywhere and value.is_graph_output() and not value.is_graph_input():
            positions = [i for i, v in enumerate(self.graph.outputs) if v is value]
            value.name = self.names.unquantized(tensor)
            out.name = tensor
            for position in positions:
                self.graph.outputs[position] = out
