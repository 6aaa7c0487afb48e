"""Scales of channels on the way through a SiLU or HardSwish, with one zero point for all of a tensor.

What goes in and what comes out have the same factors: the product keeps what its input was divided by. So a
factor follows from the input's range, and one scale for all divided channels from the product's.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from distq.quant.channel_factors import SMALLEST_FACTOR

Floats = npt.NDArray[np.float64]
Ends = tuple[Floats, Floats]
"""Lower and upper end of each channel's range, (channels,) each."""

_STEPS = 255
_HALF = 127


@dataclass(frozen=True)
class GateScales:
    """Ranges that quantizers of 8 bits make scales by channel of, with one zero point each.

    Attributes:
        data: of what the activation reads.
        product: of what it is multiplied to.
        gain: estimated noise at the outputs of the depthwise layers with one scale a tensor, over that with
            these.
    """

    data: Ends
    product: Ends
    gain: float


def gate_scales(
    data: Ends, product: Ends, bounds: tuple[float, float], weights: Sequence[Floats], *, symmetric: bool
) -> GateScales:
    """The ranges of least estimated noise.

    Both tensors add the square of their step. Every output counts alike, as in
    :func:`~distq.quant.channel_factors.channel_gain`.

    Args:
        data: ends of what the activation reads.
        product: ends of what it is multiplied to.
        bounds: below the first the activation makes nothing of its input; the second is the least product.
        weights: (channels, kernel) of each depthwise layer.
        symmetric: ranges are around 0.
    """
    read = np.sum([np.any(weight != 0, axis=1) for weight in weights], axis=0) * (data[1] > data[0])
    ends = np.maximum(data[0], bounds[0]), data[1]
    zero, steps = _scales(*ends, read, symmetric=symmetric)
    steps = np.maximum(steps, SMALLEST_FACTOR * steps.max())
    written = np.maximum(product[0], bounds[1]) / steps, product[1] / steps
    whole = written[0].min(keepdims=True), written[1].max(keepdims=True)
    product_zero, ratio = _scales(*whole, np.ones(1), symmetric=symmetric)
    products = ratio * steps
    together = np.sum(read) * sum((high.max() - low.min()) ** 2 for low, high in (data, product))
    by_channel = _STEPS**2 * np.sum(read * (steps**2 + products**2))
    gain = float(together / by_channel) if by_channel > 0 else 0.0
    return GateScales(
        _ends(zero, steps, symmetric=symmetric), _ends(product_zero, products, symmetric=symmetric), gain
    )


def _scales(
    low: Floats, high: Floats, counts: npt.NDArray[np.generic], *, symmetric: bool
) -> tuple[int, Floats]:
    """The zero point whose scales add least noise, and these, (channels,)."""
    tiny = np.finfo(np.float32).tiny
    if symmetric:
        return _HALF + 1, np.maximum(np.maximum(-low, high) / _HALF, tiny)
    zeros = np.arange(1, _STEPS)[:, None]
    scales = np.maximum(np.maximum(high / (_STEPS - zeros), -low / zeros), tiny)
    best = int(np.argmin(np.sum(counts * scales**2, axis=1)))
    return int(zeros[best, 0]), scales[best]


def _ends(zero: int, scales: Floats, *, symmetric: bool) -> Ends:
    return (-_HALF * scales, _HALF * scales) if symmetric else (-zero * scales, (_STEPS - zero) * scales)
