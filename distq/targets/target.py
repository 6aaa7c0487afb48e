"""What a runtime expects of a quantized network, as plain data."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from distq.errors import UsageError
from distq.targets.operators import CONNECTING, GATES, LAYERS, SWISHES
from distq.targets.times import KernelTimes

Scheme = Literal["auto", "symmetric"]
"""How the range of an activation becomes integers: with a zero point, or around 0."""

WeightRoom = Literal["all", "half", "pairs"]
"""How large integer weights may be.

``all``: up to 127. ``half``: up to 64. ``pairs``: up to 127, and so small that two products that a kernel
adds up are within 16 bits.
"""

WeightBits = Literal["auto", "pairs", "7", "8"]
"""Bits of weights, which are stored in 8 in any case; ``auto``: as the processor needs it."""

ConcatRule = Literal["auto", "tie", "requantize"]
"""Whether inputs of a Concat share its quantizer: where their ranges are alike, always, or never."""

ChannelScales = Literal["none", "quantizers", "gates"]
"""How channels in front of depthwise layers have scales of their own: not at all, by quantizers as ONNX has
them, or by factors in the weights around a SiLU or HardSwish, which kernels of one scale take."""

Placement = Literal["everywhere", "layer inputs"]
"""Which tensors are quantized: all that an integer kernel reads or writes, or what layers read."""

BiasType = Literal["int32", "float32"]
"""int32 at the scale of the layer's accumulator, behind DequantizeLinear; or float32 as it is."""


@dataclass(frozen=True)
class Target:
    """The facts of one target.

    Attributes:
        name: as ``--target`` takes it.
        placement: where quantizers stand.
        layers: compute operators that INT8 carries.
        kernels: operators between layers that have an integer kernel.
        schemes: those it takes; another one gives way to the first.
        signed: a symmetric range is int8 with zero point 0; otherwise uint8 with zero point 128.
        bias: type of a layer's bias.
        activation_bits: widths of activations.
        saturates: kernels add up products in 16 bits where the processor has no VNNI.
        weight_room: how large integer weights may be, so that those products fit.
        per_channel_weights: weights have a scale for each output channel; otherwise one scale a layer.
        absorbs_saturation: with scheme ``auto`` Relu and Clip behind an integer kernel are left out, as the
            quantizer behind them saturates at their bounds; otherwise they stay between the two.
        fused_kernels: operator types in the graph that ONNX Runtime makes of the exported network which
            count as integer kernels; empty where ONNX Runtime does not run it.
        writes_float: compute operators whose integer kernels write float where no quantizer stands behind.
        channel_scales: in front of depthwise layers channels may have scales of their own, and how.
        subpixel: a ConvTranspose has no integer kernel, and is written as a Conv of its phases.
        times: what its kernels take; None where nobody has measured it.
    """

    name: str
    placement: Placement
    layers: frozenset[str] = LAYERS
    kernels: frozenset[str] = CONNECTING
    schemes: tuple[Scheme, ...] = ("auto", "symmetric")
    signed: bool = True
    bias: BiasType = "int32"
    activation_bits: tuple[int, ...] = (8,)
    saturates: bool = False
    weight_room: WeightRoom = "all"
    per_channel_weights: bool = True
    absorbs_saturation: bool = False
    fused_kernels: frozenset[str] = frozenset()
    writes_float: frozenset[str] = frozenset()
    channel_scales: ChannelScales = "none"
    subpixel: bool = False
    times: KernelTimes | None = None

    def __post_init__(self) -> None:
        """Refuse facts that no network could be written by.

        Raises:
            UsageError: an operator that no quantizer can stand around, a width that is neither 8 nor 16, no
                scheme, or saturation of tensors that have no quantizer.
        """
        unknown = sorted((self.layers - LAYERS) | (self.kernels - CONNECTING - GATES - SWISHES))
        if unknown:
            raise UsageError(
                f"target {self.name} lists {unknown[0]}: take operators of distq/targets/operators.py"
            )
        if not self.layers or not self.schemes:
            raise UsageError(f"target {self.name} has no layers or no schemes: name at least one of each")
        if self.activation_bits not in {(8,), (8, 16)}:
            raise UsageError(
                f"target {self.name} has activations of {self.activation_bits} bits: give (8,) or (8, 16)"
            )
        if self.absorbs_saturation and self.placement != "everywhere":
            raise UsageError(
                f"target {self.name} absorbs saturation without quantizers everywhere: leave one out"
            )

    def scheme(self, asked: Scheme) -> Scheme:
        """The scheme that is used where one is asked for."""
        return asked if asked in self.schemes else self.schemes[0]

    def require_16_bits(self) -> None:
        """Refuse 16-bit activations where there are none.

        Raises:
            UsageError: naming the options that ask for them.
        """
        if 16 not in self.activation_bits:
            raise UsageError(
                f"--target {self.name} has no 16-bit activations: "
                "leave out --int16-layers, --int16-budget and bits: 16 by layer"
            )
