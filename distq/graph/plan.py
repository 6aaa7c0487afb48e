"""The quantized form of a network without numbers: its layers, its quantizers, and what stays float."""

from __future__ import annotations

from collections.abc import Container
from dataclasses import dataclass
from typing import TYPE_CHECKING

from distq.graph.gate import ChannelGate
from distq.graph.islands import has_own_channels
from distq.graph.layers import Layer
from distq.graph.quantizers import Quantizer
from distq.graph.settings import NOTHING_SET, Settings
from distq.targets.target import Scheme, Target, WeightRoom

if TYPE_CHECKING:
    import onnx_ir as ir

__all__ = ["Plan", "Quantizer"]


@dataclass(frozen=True)
class Plan:
    """The quantized form of a model, without numbers.

    Attributes:
        target: what it is made for.
        scheme: the one used: ``symmetric`` wherever the target takes no other.
        layers: compute layers in graph order.
        quantizers: in the order of their first tensor.
        dropped: nodes that saturation implies: Relu and Clip behind an integer kernel.
        float_nodes: nodes left in float, each with its reason.
        tied: quantizers are shared by what only passes values on, and the last Gemm may write float.
        joined: pairs of tensors that share the second one's quantizer, as the runtime has nothing between.
        operands: nodes without weights and the positions of constants that they read as integers.
        settings: what the user set by layer.
        unrounded: nodes in float, by name, and quantized tensors that they read in front of the quantizer;
            no name where an output of the network is such a tensor.
        gates: SiLU and HardSwish on whose way channels have scales of their own, by factors.
        listed: what the last layers write in float: they have a threshold in tables, for hardware whose
            outputs are integers, and no quantizer in the exported network.
    """

    target: Target
    scheme: Scheme
    layers: tuple[Layer, ...]
    quantizers: tuple[Quantizer, ...]
    dropped: frozenset[str]
    float_nodes: tuple[tuple[str, str], ...]
    tied: bool = True
    joined: tuple[tuple[str, str], ...] = ()
    operands: tuple[tuple[str, int], ...] = ()
    settings: Settings = NOTHING_SET
    unrounded: frozenset[tuple[str, str]] = frozenset()
    gates: tuple[ChannelGate, ...] = ()
    listed: tuple[Quantizer, ...] = ()

    @property
    def in_table(self) -> tuple[Quantizer, ...]:
        """All that have a threshold."""
        return (*self.quantizers, *self.listed)

    def known(self, names: Container[str]) -> tuple[Quantizer, ...]:
        """All quantizers, and what is listed where these names have it: not all files of others do."""
        return (*self.quantizers, *(q for q in self.listed if q.name in names))

    @property
    def row_of(self) -> dict[str, str]:
        """The name of the row of each tensor that has a threshold."""
        return {tensor: q.name for q in self.in_table for tensor in q.tensors}

    @property
    def wide(self) -> frozenset[str]:
        """Those with 16 bits, by name."""
        return frozenset(q.name for q in self.in_table if q.bits == 16)

    @property
    def by_tensor(self) -> dict[str, Quantizer]:
        """The quantizer of each quantized tensor."""
        return {tensor: q for q in self.quantizers for tensor in q.tensors}

    @property
    def opset(self) -> int:
        """The least opset the exported model needs."""
        return 21 if any(q.bits == 16 for q in self.quantizers) else 13

    def has_float_bias(self, layer: Layer) -> bool:
        """Whether the bias of a layer stays float32."""
        return layer.float_bias or self.target.bias == "float32"

    def weight_room(self, node: ir.Node) -> WeightRoom:
        """How large a layer's integers may be; depthwise kernels add up in 32 bits."""
        return "all" if has_own_channels(node) else self.target.weight_room

    def weight_axis(self, layer: Layer) -> int | None:
        """The axis along which a layer's weights have a scale each; None: one scale for all."""
        one_scale = not self.target.per_channel_weights or layer.node in self.settings.one_scale
        return None if one_scale else layer.axis
