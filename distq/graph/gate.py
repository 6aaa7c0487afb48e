"""A SiLU or HardSwish whose channels have scales of their own, and the names of what it adds to a network."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from distq.targets.operators import SWISHES

LARGEST_INPUT = 8.0
"""Beyond it the Sigmoid of a SiLU counts as 0 or 1, from which it then differs by 0.0004 at most."""

LEAST_SILU = -0.2785
"""Minimum of x / (1 + exp(-x))."""

SHIFT, WIDTH = 3.0, 6.0
"""HardSwish(x) = x * clip(x + 3, 0, 6) / 6 (ONNX operators, HardSwish-14)."""

PARTS = tuple(
    f"{stem}_{part}"
    for stem, parts in (
        ("factors", ("quantized", "scale", "zero_point", "dequantized", "bias_quantized", "bias_scale")),
        ("factors", ("bias_zero_point", "bias_dequantized", "value")),
        ("gate", ("scale", "zero_point", "read_scale", "read_zero_point", "quantized", "dequantized")),
    )
    for part in parts
)
"""Constants and tensors that such a gate adds."""


@dataclass(frozen=True)
class ChannelGate:
    """A SiLU or HardSwish that depthwise layers read.

    Attributes:
        op: Sigmoid or HardSwish.
        node: its name.
        data: tensor that it reads.
        product: tensor that the depthwise layers read.
        writer: name of the layer that writes ``data``.
        readers: names of the depthwise layers; none: all that reads ``data`` is in float, and no quantizer is
            on ``product``.
        rank: dimensions of both tensors.
    """

    op: str
    node: str
    data: str
    product: str
    writer: str
    readers: tuple[str, ...]
    rank: int

    @property
    def tensors(self) -> tuple[str, ...]:
        """Those with a quantizer."""
        return (self.data, self.product) if self.readers else (self.data,)

    @property
    def least(self) -> float:
        """The least product there is."""
        return -SHIFT * SHIFT / (4 * WIDTH) if self.op in SWISHES else LEAST_SILU

    @property
    def cuts(self) -> tuple[tuple[float, float], ...]:
        """Lower ends that its input can be cut at, and how far its product is then off at most."""
        ends = np.linspace(1.0, SHIFT if self.op in SWISHES else LARGEST_INPUT, 15)
        off = ends * (SHIFT - ends) / WIDTH if self.op in SWISHES else ends / (1 + np.exp(ends))
        return tuple((-float(end), float(lost)) for end, lost in zip(ends, off, strict=True))
