"""Scales of channels on the way through a SiLU or HardSwish, with one zero point for all of a tensor.

What goes in and what comes out have the same factors: the product keeps what its input was divided by. So a
factor serves two ranges. The input goes far below zero where the product hardly does: its lower end is cut
where the finer steps are worth what that takes from the product.
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

STEPS, HALF = 255, 127

BELOW_CUT = 0.1
"""What part of the values of a channel is taken to lie beyond a cut, where its range does."""


@dataclass(frozen=True)
class GateScales:
    """Ranges that quantizers of 8 bits make scales by channel of, with one zero point each.

    Attributes:
        data: of what the activation reads.
        product: of what it is multiplied to.
        gain: decibels by which the estimated noise of a channel is less than with one scale a tensor, the
            mean over channels.
        left: decibels by which the mean noise of channels is above that of a scale and zero point of their
            own.
    """

    data: Ends
    product: Ends
    gain: float
    left: float


def gate_scales(
    data: Ends,
    product: Ends,
    cuts: Sequence[tuple[float, float]],
    read: npt.NDArray[np.bool_],
    *,
    symmetric: bool,
) -> GateScales:
    """The ranges of least estimated noise.

    A channel's noise is the variance that rounding adds to its product, and what a cut takes from it, over
    that of a scale and a zero point of its own. So channels count alike, however wide they are: the weights
    behind them make up for their width.

    Args:
        data: ends of what the activation reads.
        product: ends of what it is multiplied to.
        cuts: lower ends, below zero, that what is read can be cut at, and how far the product is then off.
        read: which channels depthwise layers make something of.
        symmetric: ranges are around 0.
    """
    own = (product[1] - product[0]) / STEPS
    own = np.maximum(own, SMALLEST_FACTOR * own.max())
    best: tuple[float, int, Floats, Floats] | None = None
    for zero in (HALF + 1,) if symmetric else range(1, STEPS):
        noise, scales = _cut(data, cuts, zero, own, above=HALF if symmetric else STEPS - zero)
        score = float(np.mean(np.log1p(noise[read]))) if read.any() else 0.0
        if best is None or score < best[0]:
            best = score, zero, scales, noise
    assert best is not None  # noqa: S101  # there is always a zero point to try
    _, zero, scales, noise = best
    scales = np.maximum(scales, SMALLEST_FACTOR * scales.max())
    low, high = float(np.max(-product[0] / scales)), float(np.max(product[1] / scales))
    if symmetric:
        ratio, product_zero = max(low, high) / HALF, HALF + 1
    else:
        ratio = (low + high) / STEPS
        product_zero = round(low / ratio)
    together = sum(((high.max() - low.min()) / STEPS) ** 2 for low, high in (data, product)) / own**2
    gained = 10 * np.log10(together / np.maximum(noise, np.finfo(np.float64).tiny))
    gain = float(np.mean(gained[read])) if read.any() else 0.0
    still = np.mean(((1 + ratio**2) * scales**2 / own**2)[read]) if read.any() else 1.0
    left = float(10 * np.log10(still))
    products = _ends(product_zero, ratio * scales, symmetric=symmetric)
    return GateScales(_ends(zero, scales, symmetric=symmetric), products, gain, left)


def _cut(
    data: Ends, cuts: Sequence[tuple[float, float]], zero: int, own: Floats, above: int
) -> tuple[Floats, Floats]:
    """Noise of each channel at its best cut, over that of a scale of its own, and its scale."""
    tiny = np.finfo(np.float32).tiny
    ends, off = (np.array(column)[:, None] for column in zip(*cuts, strict=True))
    below = zero - 1 if above == HALF else zero
    scales = np.maximum(np.maximum(data[1] / above, np.minimum(-data[0], -ends) / below), tiny)
    lost = np.where(data[0] < ends, 12 * BELOW_CUT * off**2, 0.0)
    noise = (2 * scales**2 + lost) / own**2
    chosen = np.argmin(noise, axis=0), np.arange(own.size)
    return noise[chosen], scales[chosen]


def _ends(zero: int, scales: Floats, *, symmetric: bool) -> Ends:
    return (-HALF * scales, HALF * scales) if symmetric else (-zero * scales, (STEPS - zero) * scales)
