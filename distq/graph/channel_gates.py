"""SiLU and HardSwish in front of depthwise layers, with a scale for each channel on kernels of one scale.

What a layer writes is divided by a factor for each channel, in the scales of its weights. A SiLU or HardSwish
is its input times an activation of it: for the activation a depthwise convolution with kernel 1 multiplies
by the factors again, and the product stays divided. The depthwise layers that read it multiply by them, in
the scales of their weights. So an integer means another step in each channel, while each kernel has one
scale and one zero point, and no integer weight changes.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from distq.graph.gate import LARGEST_INPUT, SHIFT, WIDTH, ChannelGate
from distq.graph.islands import is_depthwise
from distq.graph.layers import Layer, float_name, gates
from distq.graph.quantizers import ChannelRange, Quantizer
from distq.quant.scheme import Encoding, quantize_bias
from distq.targets.operators import GATES, SWISHES

if TYPE_CHECKING:
    import onnx_ir as ir

    from distq.graph.names import Constants, Names
    from distq.graph.plan import Plan

Floats = npt.NDArray[np.float64]

_WEIGHT = 127
_SAME = 1e-3
"""How far zero points and factors of a table may differ from channel to channel: its numbers are rounded."""


def find_gates(
    graph: ir.Graph,
    kernels: AbstractSet[str],
    layers: Sequence[Layer],
    quantizers: Sequence[Quantizer],
    floats: Collection[str],
) -> tuple[ChannelGate, ...]:
    """Those on whose way channels can have scales of their own, in graph order.

    A convolution alone writes what the activation reads, depthwise convolutions alone read the product, and
    each tensor between them has a quantizer of its own, of 8 bits, which the user set nothing for.

    Args:
        graph: of the network.
        kernels: operators that run on integers.
        layers: in INT8, whose weights have a scale a channel.
        quantizers: of the plan.
        floats: names of nodes in float.
    """
    own = {q.name for q in quantizers if q.bits == 8 and len(q.tensors) == 1}
    free = own - {q.name for q in quantizers if q.setting is not None or q.keep_range}
    by_node = {layer.node: layer for layer in layers}
    found = []
    for node in graph:
        if node.op_type not in kernels & (GATES | SWISHES) or node.domain:
            continue
        data = node.inputs[0]
        product = node.outputs[0] if node.op_type in SWISHES else _multiplied(node)
        before = None if data is None else data.producer()
        writer = None if before is None else by_node.get(before.name or "")
        if data is None or product is None or writer is None or product.is_graph_output():
            continue
        between = {node} if node.op_type in SWISHES else {node, product.producer()}
        alone = {use.node for use in data.uses()} == between and not data.is_graph_output()
        depthwise = all(is_depthwise(use.node) and use.idx == 0 for use in product.uses()) and product.uses()
        written = writer.op == "Conv" and writer.output == data.name and data.name in free
        if not (alone and depthwise and written) or data.shape is None:
            continue
        readers = [layer.name for use in product.uses() if (layer := by_node.get(use.node.name or ""))]
        in_float = float_name(node) in floats and not readers
        on_integers = product.name in free and len(readers) == len(product.uses())
        if node.op_type in GATES:
            on_integers = on_integers and node.outputs[0].name in own
        if in_float or (on_integers and float_name(node) not in floats):
            tensors = data.name or "", product.name or ""
            rank = len(data.shape)
            found.append(
                ChannelGate(node.op_type, node.name or "", *tensors, writer.name, tuple(readers), rank)
            )
    return tuple(found)


def gates_of(model: ir.Model, plan: Plan) -> tuple[ChannelGate, ...]:
    """Those of a plan, whether their channels have scales of their own or not."""
    layers = [layer for layer in plan.layers if plan.weight_axis(layer) is not None]
    return find_gates(model.graph, plan.target.kernels, layers, plan.quantizers, dict(plan.float_nodes))


def _multiplied(sigmoid: ir.Node) -> ir.Value | None:
    """The product of a Sigmoid and its input, where it has no other reader."""
    readers = {use.node for use in sigmoid.outputs[0].uses()}
    return next(iter(readers)).outputs[0] if gates(sigmoid) and len(readers) == 1 else None


def with_factors(
    found: Sequence[ChannelGate], quantizers: Sequence[Quantizer], *, whole: bool
) -> tuple[tuple[ChannelGate, ...], tuple[Quantizer, ...]]:
    """Gates with ranges of channels on both sides, and the quantizers.

    Of a whole network other quantizers lose such ranges: kernels of one scale could not take them.
    """
    given = {q.name for q in quantizers if q.channels}
    kept = tuple(g for g in found if given.issuperset(g.tensors))
    names = {name for g in kept for name in g.tensors}
    if whole:
        quantizers = [q if q.name in names else replace(q, channels=()) for q in quantizers]
    return kept, tuple(quantizers)


def agree(data: Sequence[ChannelRange], product: Sequence[ChannelRange]) -> bool:
    """Whether ranges of channels on both sides of a gate have one zero point each, and one factor."""
    if len(data) != len(product):
        return False
    low, high = np.moveaxis(np.array([data, product]), 2, 0)
    widths = high - low
    zeros, factors = -low / widths, widths[1] / widths[0]
    return bool(np.all(np.ptp(zeros, axis=1) < _SAME) and np.ptp(factors) < _SAME * factors.mean())


@dataclass(frozen=True)
class Written:
    """How the network holds what gates change.

    Attributes:
        plan: of the network.
        encodings: of its quantizers.
    """

    plan: Plan
    encodings: Mapping[str, Encoding]

    def encoding(self, quantizer: str) -> Encoding:
        """One scale and zero point of a quantizer whose channels have factors; else what it has."""
        encoding = self.encodings[quantizer]
        for gate in self.plan.gates:
            if quantizer in gate.tensors:
                scales = np.asarray(encoding.scale, np.float64)
                if quantizer == gate.product:
                    scales = scales / self.factors(gate)
                zero_point = int(np.median(np.ravel(encoding.zero_point)))
                return replace(encoding, scale=_middle(scales), zero_point=zero_point)
        return encoding

    def factors(self, gate: ChannelGate) -> Floats:
        """What each channel is divided by, (channels,)."""
        scales = np.asarray(self.encodings[gate.data].scale, np.float64)
        return scales / _middle(scales)

    def divisor(self, layer: str) -> Floats | None:
        """What a layer's output channels are divided by, (channels,), less than 1 of those multiplied."""
        for gate in self.plan.gates:
            if layer == gate.writer:
                return self.factors(gate)
        return None

    def offset(self, layer: str) -> Floats | None:
        """What is added to a layer's divided output channels, (channels,), so that zero points agree."""
        for gate in self.plan.gates:
            if layer == gate.writer and not gate.readers:
                one = self.encoding(gate.data).single
                return one[0] * (np.asarray(self.encodings[gate.data].zero_point, np.float64) - one[1])
        return None

    def weight_scale(self, layer: str, scale: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        """The scale of a layer's weights as the network has it, (channels,)."""
        for gate in self.plan.gates:
            if layer == gate.writer:
                scale = (scale / self.factors(gate)).astype(np.float32)
            if layer in gate.readers:
                scale = (scale * self.factors(gate)).astype(np.float32)
        return scale

    def constants(self, names: Names) -> Constants:
        """Constants of the convolutions that multiply by the factors, and of the quantizers behind them."""
        found: Constants = {}
        for gate in self.plan.gates:
            stem = names.gate(gate.data)
            if not gate.readers:
                read = self.encodings[gate.data]
                found[f"{stem}_gate_read_scale"] = np.array(read.scale, np.float32)
                found[f"{stem}_gate_read_zero_point"] = np.array(read.zero_point, read.dtype)
                continue
            factors, step = self.factors(gate), float(np.asarray(self.encoding(gate.data).scale))
            scale = (factors / _WEIGHT).astype(np.float32)
            found |= {
                f"{stem}_factors_quantized": np.full(
                    (len(factors), *(1,) * (gate.rank - 1)), _WEIGHT, np.int8
                ),
                f"{stem}_factors_scale": scale,
                f"{stem}_factors_zero_point": np.zeros(factors.shape, np.int8),
            }
            steps, zero_point = WIDTH / 255, 0
            if gate.op in SWISHES:
                bias, bias_scale = quantize_bias(np.full(factors.shape, SHIFT), step, scale)
                found |= {
                    f"{stem}_factors_bias_quantized": bias,
                    f"{stem}_factors_bias_scale": bias_scale,
                    f"{stem}_factors_bias_zero_point": np.zeros(factors.shape, np.int32),
                }
                found[f"{stem}_gate_read_scale"] = np.array(1 / 255, np.float32)
            else:
                steps, zero_point = self._steps_in_front(gate)
            found[f"{stem}_gate_scale"] = np.array(steps, np.float32)
            found[f"{stem}_gate_zero_point"] = np.array(zero_point, np.uint8)
        return found

    def _steps_in_front(self, gate: ChannelGate) -> tuple[float, int]:
        """Scale and zero point in front of a Sigmoid: of the range of all channels, as far as it tells."""
        encoding = self.encodings[gate.data]
        scales = float(np.max(encoding.scale))
        zero_point = int(np.ravel(encoding.zero_point)[0])
        low = max(-LARGEST_INPUT, -zero_point * scales)
        high = min(LARGEST_INPUT, (255 - zero_point) * scales)
        step = (high - low) / 255
        return step, round(-low / step)


def _middle(scales: Floats) -> float:
    """The geometric mean, as float32 has it."""
    return float(np.float32(np.exp(np.mean(np.log(scales)))))
