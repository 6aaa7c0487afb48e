"""What a threshold means: from the range of a tensor to scale, zero point and integer type."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

ZERO_WEIGHT_SCALE = np.float32(2.0**-20)
"""Scale of a weight channel that is all zero: any carries it, and a small one keeps its bias exact."""


Scales = float | tuple[float, ...]
"""One scale for a whole tensor, or one for each of its channels."""

ZeroPoints = int | tuple[int, ...]
"""The same of zero points."""


@dataclass(frozen=True)
class Encoding:
    """How a real number becomes an integer: q = clamp(round(x / scale) + zero_point).

    With scales by channel, scale and zero point are a tuple each, one for each channel along axis 1.
    """

    scale: Scales
    zero_point: ZeroPoints
    bits: int
    signed: bool

    @property
    def dtype(self) -> np.dtype[np.integer]:
        """The integer type."""
        return np.dtype(f"{'int' if self.signed else 'uint'}{self.bits}")

    @property
    def single(self) -> tuple[float, int]:
        """Scale and zero point of a tensor that has one of each."""
        if isinstance(self.scale, tuple) or isinstance(self.zero_point, tuple):
            raise TypeError("an encoding by channel has no single scale")
        return self.scale, self.zero_point

    def with_steps_times(self, factor: float) -> Encoding:
        """The same with every scale so many times as large."""
        scale = self.scale
        scaled = tuple(s * factor for s in scale) if isinstance(scale, tuple) else scale * factor
        return replace(self, scale=scaled)


def on_channels(numbers: Scales | ZeroPoints, ndim: int) -> npt.NDArray[Any]:
    """One number of no dimension, or those of channels as (channels, 1, ...), of ``ndim`` dimensions."""
    array = np.asarray(numbers)
    return array.reshape(-1, *(1,) * (ndim - 1)) if array.ndim else array


SMALLEST_THRESHOLD = 2.0**-100
"""No threshold is below this (7.9e-31), so that every scale made from one is a normal float32."""


def threshold_range(observed_min: float, observed_max: float, threshold: float) -> tuple[float, float]:
    """The range one threshold T stands for.

    [max(observed min, -T), min(observed max, T)], extended to hold 0.

    Where that would be too narrow for a scale (a tensor that is always zero, or below
    ``SMALLEST_THRESHOLD``), what was
    observed is not looked at: [0, T], or [-T, T] where it was negative.
    """
    if max(-observed_min, observed_max) < SMALLEST_THRESHOLD:
        return (0.0 if observed_min >= 0 else -threshold), threshold
    return max(min(observed_min, 0.0), -threshold), min(max(observed_max, 0.0), threshold)


def encode(low: float, high: float, bits: int, *, symmetric: bool, signed: bool = False) -> Encoding:
    """The encoding of the range [low, high], zero included.

    Symmetric: scale T/127 (T/32767 at 16 bit) with T the larger side; signed with zero point 0, or unsigned
        with zero point 128, which is the same arithmetic on kernels that want uint8. Otherwise unsigned,
        scale (high - low)/255, and the
    zero point follows the range: 0 where it starts at zero. Scales are float32, as ONNX stores them.
    """
    low, high = min(low, 0.0), max(high, 0.0)
    tiny = float(np.finfo(np.float32).tiny)
    if symmetric:
        scale = np.float32(max(max(-low, high) / (2 ** (bits - 1) - 1), tiny))
        return Encoding(float(scale), 0 if signed else 2 ** (bits - 1), bits, signed)
    steps = 2**bits - 1
    scale = np.float32(max((high - low) / steps, tiny))
    zero_point = int(np.clip(np.rint(-low / float(scale)), 0, steps))
    return Encoding(float(scale), zero_point, bits, signed=False)


def encoded_range(scale: float, zero_point: int, bits: int, *, symmetric: bool) -> tuple[float, float]:
    """The range of an unsigned quantizer, of which :func:`encode` makes the same again."""
    if symmetric:
        half = 2 ** (bits - 1) - 1
        return -half * scale, half * scale
    return -zero_point * scale, (2**bits - 1 - zero_point) * scale


LARGEST_WEIGHT = 127
"""Weights of 8 bits are symmetric."""

LARGEST_UNSATURATED = 64
"""Weights up to which any two products with a uint8 are within 16 bits: 2 * 255 * 64 < 2 ** 15.

Beyond kernels of x86 processors without VNNI saturate (instruction vpmaddubsw).
"""


def largest_magnitudes(weight: npt.NDArray[np.float32], axis: int | None) -> npt.NDArray[np.float64]:
    """Of each slice along an axis, (slices,); None: of all, no dimension."""
    others = tuple(i for i in range(weight.ndim) if i != axis) if axis is not None else None
    return np.asarray(np.max(np.abs(weight), axis=others), np.float64)


def weight_scale(ends: npt.NDArray[np.float64], largest: int = LARGEST_WEIGHT) -> npt.NDArray[np.float32]:
    """Scales of symmetric weights by what their largest integer stands for."""
    scale = np.where(ends > 0, ends / largest, ZERO_WEIGHT_SCALE).astype(np.float32)
    return np.maximum(scale, np.finfo(np.float32).tiny)


def round_weight(
    weight: npt.NDArray[np.float32],
    scale: npt.NDArray[np.float32],
    axis: int | None,
    largest: int = LARGEST_WEIGHT,
) -> npt.NDArray[np.int8]:
    """Round to the nearest step of ``scale`` (half to even) within [-largest, largest]."""
    spread = along(scale, weight.ndim, axis)
    rounded: npt.NDArray[np.int8] = np.clip(np.rint(weight / spread), -largest, largest).astype(np.int8)
    return rounded


def along(values: npt.NDArray[np.float32], ndim: int, axis: int | None) -> npt.NDArray[np.float32]:
    """Reshape per-channel values so that they broadcast along ``axis`` of an ``ndim`` array."""
    if axis is None:
        return values
    shape = [1] * ndim
    shape[axis] = -1
    return values.reshape(shape)


def quantize_bias(
    bias: npt.NDArray[np.float64], input_scale: Scales, weight_scale: npt.NDArray[np.float32]
) -> tuple[npt.NDArray[np.int32], npt.NDArray[np.float32]]:
    """int32 bias with the accumulator's scale, the float32 product input_scale * weight_scale.

    A bias outside int32 saturates; ``fit_weight_scale`` keeps that from happening.

    Returns:
        The integers, (channels,), and the scale, shaped as that of the weights; (channels,) where the input
        has one a channel.
    """
    scale = np.asarray(np.asarray(input_scale, np.float32) * weight_scale, np.float32)
    scale = np.asarray(np.maximum(scale, np.finfo(np.float32).tiny))
    limit = 2**31 - 1
    return np.clip(np.rint(bias / scale.astype(np.float64)), -limit, limit).astype(np.int32), scale


def fit_weight_scale(
    scale: npt.NDArray[np.float32], bias: npt.NDArray[np.float64], input_scale: Scales
) -> npt.NDArray[np.float32]:
    """Raise weight scales so far that the bias fits into int32 with room for a factor of four.

    Channels of near-zero weights beside a real bias need it: their accumulator step would be too fine.
    """
    least = np.abs(bias) / (np.asarray(input_scale, np.float64) * 2.0**29)
    return np.maximum(scale, np.max(least) if scale.ndim == 0 else least).astype(np.float32)
