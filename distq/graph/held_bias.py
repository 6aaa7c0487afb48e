"""What turns a layer's bias into the constants that the quantized network holds."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from distq.graph.apart_add import BIAS_SHAPE
from distq.graph.channel_gates import Written
from distq.graph.layers import Layer
from distq.graph.plan import Plan
from distq.graph.subpixel import by_phase
from distq.quant.scheme import Encoding, Scales, quantize_bias

if TYPE_CHECKING:
    from distq.graph.names import Constants, Names


@dataclass(frozen=True)
class HeldBias:
    """What turns a layer's bias into the integers that the network holds.

    Attributes:
        step: scale of what the layer reads; None where biases are kept in float.
        weight_scale: of its weights, as the network holds it.
        divisor: what its output channels are divided by, (channels,); None: nothing.
        offset: what is added to them then; None: nothing.
    """

    step: Scales | None
    weight_scale: npt.NDArray[np.float32]
    divisor: npt.NDArray[np.float64] | None = None
    offset: npt.NDArray[np.float64] | None = None

    @classmethod
    def of(
        cls, plan: Plan, encodings: Mapping[str, Encoding], scale: npt.NDArray[np.float32], layer: Layer
    ) -> HeldBias:
        """That of a layer, whose weights have a scale."""
        written = Written(plan, encodings)
        in_float = plan.has_float_bias(layer)
        step = None if in_float else written.encoding(plan.by_tensor[layer.inputs[0]].name).scale
        return cls(
            step,
            written.weight_scale(layer.name, scale),
            written.divisor(layer.name),
            written.offset(layer.name),
        )

    def constants(self, names: Names, layer: Layer, bias: npt.NDArray[np.float64]) -> Constants:
        """The constants of the bias, (channels,), of a layer."""
        if self.divisor is not None:
            bias = bias / self.divisor
        if self.offset is not None:
            bias = bias + self.offset
        if self.step is None:
            values = by_phase(bias.astype(np.float32), layer.subpixel)
            return {names.float_bias(layer.name): values.reshape(BIAS_SHAPE) if layer.float_bias else values}
        held = quantize_bias(bias, self.step, self.weight_scale)
        integers, scale = (by_phase(part, layer.subpixel) for part in held)
        stem = names.bias(layer.name)
        return {
            f"{stem}_quantized": integers,
            f"{stem}_scale": scale,
            f"{stem}_zero_point": np.zeros(scale.shape, np.int32),
        }
