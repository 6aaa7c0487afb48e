"""Write a plan and its numbers into the model as QuantizeLinear and DequantizeLinear nodes."""

from __future__ import annotations

from collections.abc import Mapping
from collections.abc import Set as AbstractSet

import numpy as np
import onnx
import onnx_ir as ir
import onnx_ir.passes.common as common_passes

from distq.graph.captured import separate_captured
from distq.graph.check import check_made
from distq.graph.convert import upgraded
from distq.graph.edits import register, take_over
from distq.graph.interface import Interface
from distq.graph.large import outline, put_away
from distq.graph.layers import Layer, float_name, wrongly_fused
from distq.graph.names import PARTS, Constants, Names
from distq.graph.plan import Plan
from distq.graph.readers import read_in_float, reads_sizes
from distq.graph.shuffled import write_subpixels
from distq.graph.state import State, constants, has_bias
from distq.graph.structure import Structures
from distq.graph.swish import write_swishes
from distq.graph.values import constant, values_of
from distq.graph.written_gates import write_gates
from distq.quant.scheme import encode
from distq.targets.operators import PASS_THROUGH

OUTPUT_DTYPE_OPSET = 21
"""From here on QuantizeLinear has the attribute ``output_dtype``."""

_FUSED_OVER = PASS_THROUGH | {"Relu", "Clip"}
"""What ONNX Runtime takes a quantizer through, or out, to fuse it with the layer in front."""

_QUANTIZED_BY_ORT = frozenset({"Conv", "ConvTranspose", "Gemm"})
"""What it gives integer weights by itself between quantizers. (ONNX Runtime, weight_bias_quantization.cc)"""

_STRUCTURES = Structures()


def export(model: ir.Model, plan: Plan, state: State) -> bytes:
    """The QDQ model as ONNX bytes, checked by onnx.checker; the same bytes for the same numbers."""

    def write() -> onnx.ModelProto:
        quantized = quantized_model(model, plan, state)
        put_away(quantized)
        proto = ir.to_proto(quantized)
        proto.producer_name, proto.producer_version = "distq", ""
        check_made(outline(proto), lambda: outline(ir.to_proto(model)))
        return proto

    numbers = constants(plan, state, Names.free_in(model))
    return _STRUCTURES.exported(model, plan, numbers, write)


def quantized_model(model: ir.Model, plan: Plan, state: State) -> ir.Model:
    """A copy of the model with quantizers where the plan puts them and integer weights and biases."""
    copy = upgraded(model, max(plan.opset, model.opset_imports[""])).clone()
    names = Names.free_in(model)
    writer = _Writer(copy, plan, names, constants(plan, state, names))
    writer.drop_saturated()
    write_gates(copy.graph, plan, names, writer.constant)
    write_swishes(copy.graph, plan, names)
    write_subpixels(copy, plan, names, writer.scales)
    nodes = {node.name or "": node for node in copy.graph}
    for layer in plan.layers:
        writer.quantize_layer(layer, nodes)
    writer.requantized = frozenset(node for node in copy.graph if writer.is_requantized(node))
    values = {value.name or "": value for value in values_of(copy.graph)}
    wide = {tensor for quantizer in plan.quantizers if quantizer.bits == 16 for tensor in quantizer.tensors}
    for name, position in plan.operands:
        writer.quantize_operand(nodes[name], position, wide)
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
        self.compute = {layer.node: layer for layer in plan.layers}
        self.has_output_dtype = model.opset_imports[""] >= OUTPUT_DTYPE_OPSET
        self.constants: dict[str, ir.Value] = {}
        self.requantized: frozenset[ir.Node] = frozenset()

    def drop_saturated(self) -> None:
        """Take out each Relu and Clip whose work the quantizer behind it does."""
        for node in list(self.graph):
            if node.name in self.plan.dropped and node.inputs[0] is not None:
                take_over(node.inputs[0], node)

    def constant(self, name: str) -> ir.Value:
        if name not in self.constants:
            self.constants[name] = register(self.graph, name, np.asarray(self.numbers[name]))
        return self.constants[name]

    def scales(self, quantizer: str) -> list[ir.Value]:
        """Scale and zero point of a quantizer."""
        return [self.constant(self.names.scale(quantizer)), self.constant(self.names.zero_point(quantizer))]

    def quantize_layer(self, layer: Layer, nodes: Mapping[str, ir.Node]) -> None:
        """Give a compute node its integer weight and bias behind DequantizeLinear, or a float bias."""
        if layer.weight is None:
            return
        node = nodes[layer.node]
        node.replace_input_with(1, self.dequantize(self.names.weight(layer.name), layer.stored_axis, node))
        if has_bias(layer):
            name, position = layer.reads_bias
            reader = nodes[name]
            if len(reader.inputs) <= position:
                reader.resize_inputs(position + 1)
            if self.plan.has_float_bias(layer):
                bias = self.constant(self.names.float_bias(layer.name))
            else:
                bias = self.dequantize(self.names.bias(layer.name), 0, reader)
            # of a product whose sizes are not known ONNX Runtime makes no Gemm
            sized = node.inputs[0] is not None and node.inputs[0].shape is not None
            apart = layer.add is not None and sized and not layer.float_bias
            if apart and self.has_output_dtype and self.reads_int8(layer):
                bias = self.as_row(bias, self.names.bias(layer.name), reader)
            reader.replace_input_with(position, bias)

    def reads_int8(self, layer: Layer) -> bool:
        """Whether the quantizer of what a layer reads is signed, in 8 bits."""
        quantizer = self.plan.by_tensor[layer.inputs[0]].name
        return self.numbers[self.names.zero_point(quantizer)].dtype == np.int8

    def as_row(self, bias: ir.Value, stem: str, before: ir.Node) -> ir.Value:
        """Give a bias a leading axis, so that ONNX Runtime leaves its Add behind the MatMul.

        It would make a Gemm of the two, behind a Reshape with a quantizer of its own, whose ``output_dtype``
        stays int8 when the rest becomes uint8: the model does not load. (measured with ONNX Runtime 1.31)
        """
        self.numbers[f"{stem}_axis"] = np.array([0])
        node = ir.node("Unsqueeze", [bias, self.constant(f"{stem}_axis")], name=f"{stem}_unsqueeze")
        node.outputs[0].name = f"{stem}_row"
        self.graph.insert_before(before, node)
        return node.outputs[0]

    def quantize_operand(self, node: ir.Node, position: int, wide: AbstractSet[str]) -> None:
        """Give a node its constant operand in 8 bits; beside 16 bits it runs in float and keeps its own."""
        array = constant(node.inputs[position])
        if array is None or not wide.isdisjoint(
            v.name for v in (*node.inputs, *node.outputs) if v is not None
        ):
            return
        symmetric = self.plan.scheme == "symmetric"
        low, high = float(array.min()), float(array.max())
        encoding = encode(low, high, 8, symmetric=symmetric, signed=symmetric and self.plan.target.signed)
        stem = self.names.operand(node.outputs[0].name or "")
        limits = np.iinfo(encoding.dtype)
        steps = np.rint(array / np.asarray(encoding.scale, np.float32)) + encoding.zero_point
        self.numbers |= {
            f"{stem}_quantized": np.clip(steps, limits.min, limits.max).astype(encoding.dtype),
            f"{stem}_scale": np.array(encoding.scale, np.float32),
            f"{stem}_zero_point": np.array(encoding.zero_point, encoding.dtype),
        }
        node.replace_input_with(position, self.dequantize(stem, None, node))

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
        pair = self.scales(quantizer)
        by_channel = {"axis": 1} if self.by_channel(quantizer) else {}
        in_float = self.read_by_channel(quantizer)
        source = self.kept_float(value)
        quantize = ir.node(
            "QuantizeLinear", [source, *pair], by_channel, name=f"{tensor}{self.names.tag}_quantize"
        )
        quantize.outputs[0].name = self.names.quantized(tensor)
        dequantize = ir.node(
            "DequantizeLinear",
            [quantize.outputs[0], *(in_float or pair)],
            {"axis": 1} if in_float else by_channel,
            name=f"{tensor}{self.names.tag}_dequantize",
        )
        out = dequantize.outputs[0]
        out.name = self.names.dequantized(tensor)
        out.shape, out.type = value.shape, value.type
        producer = source.producer()
        if producer is None:
            self.graph.insert_before(self.graph[0], [quantize, dequantize])
        else:
            self.graph.insert_after(producer, [quantize, dequantize])
        everywhere = self.plan.target.placement == "everywhere"
        together = read_in_float(uses, self.plan) if everywhere else frozenset()
        for node, position in uses:
            rounded = everywhere and (node.name, tensor) not in self.plan.unrounded
            computes = node.name in self.compute and position < 2
            if everywhere and reads_sizes(node, self.graph):
                node.replace_input_with(position, quantize.outputs[0])
            elif rounded or computes:
                alone = not computes and (by_channel or node in together)
                read = self.apart(out, self.names.read_alone(tensor)) if alone else out
                node.replace_input_with(position, read)
        wide = ("", tensor) in self.plan.unrounded
        if everywhere and value.is_graph_output() and not value.is_graph_input() and not wide:
            positions = [i for i, v in enumerate(self.graph.outputs) if v is value]
            value.name = self.names.unquantized(tensor)
            out.name = tensor
            for position in positions:
                self.graph.outputs[position] = out

    def by_channel(self, quantizer: str) -> bool:
        """Whether a quantizer has a scale for each channel; those around gates have factors instead."""
        return self.numbers[self.names.scale(quantizer)].ndim > 0

    def read_by_channel(self, quantizer: str) -> list[ir.Value]:
        """Scale and zero point of each channel that float nodes read, where a layer writes factors."""
        for gate in self.plan.gates:
            if gate.data == quantizer and not gate.readers:
                stem = self.names.gate(gate.data)
                return [self.constant(f"{stem}_gate_read_{part}") for part in ("scale", "zero_point")]
        return []

    def is_requantized(self, node: ir.Node) -> bool:
        """Whether a node is a layer in float that ONNX Runtime would quantize between two quantizers.

        It rounds the weights of such a one to nearest, unless its WeightBiasQuantization is turned off.
        """
        if node.op_type not in _QUANTIZED_BY_ORT or node.domain or node.name in self.compute:
            return False
        data = "" if node.inputs[0] is None else node.inputs[0].name or ""
        rounded = data in self.plan.by_tensor and (node.name, data) not in self.plan.unrounded
        return rounded and constant(node.inputs[1]) is not None

    def scaled_by_channel(self, value: ir.Value) -> bool:
        """Whether a quantizer has scales by channel, or the layer that writes its tensor reads such."""
        quantizers = self.plan.by_tensor
        if self.by_channel(quantizers[value.name or ""].name):
            return True
        node = _written_by(value)
        layer = None if node is None else self.compute.get(node.name or "")
        return layer is not None and self.by_channel(quantizers[layer.inputs[0]].name)

    def kept_float(self, value: ir.Value) -> ir.Value:
        """What a quantizer reads of a value: a Max of it alone where ONNX Runtime must not fuse the two.

        It would also put the quantizer in front of a MaxPool in float, and pool integers channel by channel,
        which takes ten times as long. Its convolution refuses scales by channel, once it runs. A layer in
        float it would quantize. (measured with ONNX Runtime 1.31)
        """
        node = value.producer()
        if node is None:
            return value
        everywhere = self.plan.target.placement == "everywhere"
        pools = everywhere and node.op_type == "MaxPool" and float_name(node) in dict(self.plan.float_nodes)
        fused = everywhere and (wrongly_fused(node) or _written_by(value) in self.requantized)
        if not pools and not fused and not self.scaled_by_channel(value):
            return value
        return self.apart(value, self.names.alone(value.name or ""))

    def apart(self, value: ir.Value, name: str) -> ir.Value:
        """A Max of a value alone, of this name, which keeps ONNX Runtime from fusing what is around it."""
        known = [use.node.outputs[0] for use in value.uses() if use.node.outputs[0].name == name]
        if known:
            return known[0]
        alone = ir.node("Max", [value], name=name)
        out = alone.outputs[0]
        out.name, out.shape, out.type = name, value.shape, value.type
        producer = value.producer()
        if producer is not None:
            self.graph.insert_after(producer, alone)
        return out


def _written_by(value: ir.Value) -> ir.Node | None:
    """The node that computes a value, in front of what ONNX Runtime fuses with it."""
    node = value.producer()
    while node is not None and node.op_type in _FUSED_OVER and node.inputs[0] is not None:
        node = node.inputs[0].producer()
    return node
