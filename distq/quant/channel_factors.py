"""What each channel of a tensor is divided by, so that one quantizer serves all of them better.

Dividing channels evens out their widths: the quantizer's steps get finer. Two things speak against it. The
weights that read the tensor are multiplied by the same factors, and some of them lose accuracy. And a channel
that fills the quantizer's range clips on images that move it further than those its width is from. Both are
estimated here, from the calibration samples alone; a factor is taken only where it still pays.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

SMALLEST_FACTOR = 2.0**-10
"""A channel that hardly ever moves is not blown up further: noise would become its signal."""

EXPONENTS = (0.5, 0.75)
"""How far widths are evened out: 1 would make all channels equally wide.

The last quarter gains little, and a channel that is rarely wide clips with it: a detector's, at objects.
"""

LEAST_GAIN = 10**0.05
"""0.5 dB less noise at the readers' outputs; below that the estimate is no reason to touch a tensor."""

LEAST_GAIN_DEPTHWISE = 10**0.005
"""The same in front of depthwise layers, whose weights lose nothing by factors: 0.05 dB."""

ROUNDING_SHARE = 0.25
"""Part of the error of rounding weights to nearest that rounding by covariance leaves, roughly."""

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class ChannelWidths:
    """How far each channel of one tensor goes.

    Attributes:
        widths: (images, channels), on each image.
        power: (channels,), mean square.
        bound: width no channel can exceed: the upper bound of a Clip.
    """

    widths: Floats
    power: Floats
    bound: float = float("inf")

    def of(self, channels: Sequence[int]) -> ChannelWidths:
        """Of these channels, in this order; of all where there are none."""
        if not channels:
            return self
        return ChannelWidths(self.widths[:, channels], self.power[list(channels)], self.bound)

    def evened_width(self, evened: Evened) -> float:
        """Width of the whole tensor once its channels are divided, with headroom."""
        return float(np.max(_wide(self, self.widths, evened.headroom) / evened.factors))


@dataclass(frozen=True)
class Evened:
    """The factors of a tensor's channels.

    Attributes:
        factors: (channels,), in [``SMALLEST_FACTOR``, 1].
        headroom: how many times wider than observed the range should be, at least 1.
        gain: estimated noise at the readers' outputs before, over that after.
    """

    factors: Floats
    headroom: float
    gain: float


def even_out(
    tensors: Sequence[ChannelWidths], weights: Sequence[Floats], *, depthwise: bool
) -> Evened | None:
    """The factors of least estimated noise, or None where none gains enough.

    Args:
        tensors: those that share the factors, channel by channel.
        weights: (outputs, channels, kernel) of each layer that reads them; where depthwise
            (channels, outputs a channel, kernel).
        depthwise: each output reads one channel, so that its weight scale absorbs the factor.
    """
    best: Evened | None = None
    least = LEAST_GAIN_DEPTHWISE if depthwise else LEAST_GAIN
    even = _noise(tensors, np.ones(tensors[0].power.size), 1.0, weights, depthwise=depthwise)
    for exponent in EXPONENTS:
        headroom = _headroom(tensors, exponent)
        factors = _factors([_wide(t, t.widths, headroom) for t in tensors], exponent)
        noise = _noise(tensors, factors, headroom, weights, depthwise=depthwise)
        gain = even / noise if noise > 0 else 0.0
        if gain >= least and (best is None or gain > best.gain):
            best = Evened(factors, headroom, gain)
    return best


def _factors(widths: Sequence[Floats], exponent: float) -> Floats:
    """Each channel's largest share of a tensor's width, to the power of the exponent."""
    shares = np.max([w / max(float(w.max()), np.finfo(np.float64).tiny) for w in widths], axis=0)
    return np.where(shares > 0, np.maximum(shares**exponent, SMALLEST_FACTOR), 1.0)


def _wide(tensor: ChannelWidths, widths: Floats, headroom: float = 1.0) -> Floats:
    """Width of each channel over some images, (channels,)."""
    largest: Floats = np.max(widths, axis=0)
    return np.minimum(largest * headroom, np.maximum(tensor.bound, largest))


def _headroom(tensors: Sequence[ChannelWidths], exponent: float) -> float:
    """How far one half of the images exceeds the range that the other half's factors fill.

    The mean over both ways, at least 1.
    """
    if len(tensors[0].widths) < 2:
        return 1.0
    exceeded = []
    for own, other in ((0, 1), (1, 0)):
        halves = [(_wide(t, t.widths[own::2]), _wide(t, t.widths[other::2])) for t in tensors]
        factors = _factors([mine for mine, _ in halves], exponent)
        live = [(np.max(mine / factors), np.max(theirs / factors)) for mine, theirs in halves]
        exceeded.append(max([theirs / mine for mine, theirs in live if mine > 0], default=1.0))
    return max(1.0, float(np.mean(exceeded)))


def _noise(
    tensors: Sequence[ChannelWidths],
    factors: Floats,
    headroom: float,
    weights: Sequence[Floats],
    *,
    depthwise: bool,
) -> float:
    """Variance that rounding adds to the readers' outputs, summed over them, up to a constant.

    A tensor adds step^2 times the energy of the weights it meets; weights add the square of their own step
    times the power of what they meet. Every output counts alike, whatever the size of its weights.
    """
    steps = [float(np.max(_wide(t, t.widths, headroom) / factors)) / 255 for t in tensors]
    power = np.max([t.power for t in tensors], axis=0) / factors**2
    total = 0.0
    for given in weights:
        norm = np.sqrt(np.sum(given**2, axis=2 if depthwise else (1, 2), keepdims=True))
        weight = given / np.maximum(norm, np.finfo(np.float64).tiny)
        energy = np.sum(weight**2, axis=(1, 2) if depthwise else (0, 2))
        total += sum(step**2 for step in steps) * float(np.sum(factors**2 * energy))
        if not depthwise:
            rows = np.max(np.abs(weight) * factors[:, None], axis=(1, 2)) / 127
            total += ROUNDING_SHARE * float(np.sum(rows**2)) * float(np.sum(power)) * weight.shape[2]
    return total


def channel_gain(low: Floats, high: Floats, weights: Sequence[Floats]) -> float:
    """Noise at the outputs of depthwise layers with one scale for all channels, over that with one for each.

    A channel adds step^2 times the energy of the weights that read it. Every output counts alike, whatever
    the size of its weights: so energies are equal where a channel is read at all. Channels that are always
    zero make no noise either way.

    Args:
        low: lower end of each channel's range, (channels,).
        high: upper end.
        weights: (channels, kernel) of each layer that reads the tensor.
    """
    read = np.sum([np.any(weight != 0, axis=1) for weight in weights], axis=0) * (high > low)
    by_channel = float(np.sum(read * (high - low) ** 2))
    together = float(np.sum(read)) * (float(np.max(high)) - float(np.min(low))) ** 2
    return together / by_channel if by_channel > 0 else 0.0
