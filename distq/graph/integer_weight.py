"""The int8 weights of a layer, and their rows: what each output reads, whatever the operator's layout."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from distq.graph.layers import Layer
from distq.graph.subpixel import as_conv, from_conv
from distq.quant.pairs import largest_pairs, within_pairs
from distq.quant.scheme import (
    LARGEST_UNSATURATED,
    LARGEST_WEIGHT,
    along,
    largest_magnitudes,
    round_weight,
    weight_scale,
)
from distq.targets.target import WeightRoom


@dataclass(frozen=True)
class IntegerWeight:
    """int8 weights of a layer.

    Attributes:
        integers: shaped as the float weights.
        scale: (channels,), or of no dimension where all weights have one.
        axis: of the output channels; None where there are none.
        room: how large integers may be.
    """

    integers: npt.NDArray[np.int8]
    scale: npt.NDArray[np.float32]
    axis: int | None
    room: WeightRoom = "all"

    @property
    def channels(self) -> int:
        """Number of output channels."""
        return 1 if self.axis is None else self.integers.shape[self.axis]

    @property
    def largest(self) -> int:
        """The largest integer there may be."""
        return _largest(self.room)

    def dequantized(self) -> npt.NDArray[np.float32]:
        """The real weights the integers stand for."""
        axis = self.axis if self.scale.ndim else None
        return self.integers.astype(np.float32) * along(self.scale, self.integers.ndim, axis)


def nearest(
    weight: npt.NDArray[np.float32],
    layer: Layer,
    axis: int | None,
    room: WeightRoom,
    scale: npt.NDArray[np.float32] | None = None,
) -> IntegerWeight:
    """Float weights rounded to nearest.

    Args:
        weight: of the layer.
        layer: which.
        axis: along which weights have a scale each; None: one for all.
        room: how large integers may be.
        scale: of the weights; None: the best that there is room for.
    """
    largest = _largest(room)
    if scale is None:
        ends = largest_magnitudes(weight, axis)
        scale = weight_scale(_ends_for_pairs(ends, weight, layer) if room == "pairs" else ends, largest)
    integers = round_weight(weight, scale, axis, largest)
    if room == "pairs":
        rows = within_pairs(as_rows(integers, layer.axis, layer.subpixel))
        integers = from_rows(rows, layer.axis, layer.subpixel, weight.shape[2:])
    return IntegerWeight(integers, scale, layer.axis, room)


def as_rows(weight: npt.NDArray[Any], axis: int | None, phases: tuple[int, ...]) -> npt.NDArray[Any]:
    """Weights as a Conv has them, (outputs, inputs, *kernel).

    Args:
        weight: of Conv, ConvTranspose, Gemm or MatMul.
        axis: of the output channels; None: of a MatMul by a vector, (inputs,), or a stack of matrices,
            (..., inputs, outputs).
        phases: strides of a ConvTranspose that is a sub-pixel convolution; empty for all others.
    """
    if phases:
        return as_conv(weight, phases)
    if weight.ndim == 1:
        return weight[None]
    return np.moveaxis(weight, (-1, -2), (0, 1)) if axis is None else np.moveaxis(weight, axis, 0)


def from_rows(
    rows: npt.NDArray[np.int8], axis: int | None, phases: tuple[int, ...], kernel: tuple[int, ...]
) -> npt.NDArray[np.int8]:
    """The weights that :func:`as_rows` made rows of; ``kernel``: of a sub-pixel convolution."""
    if phases:
        return from_conv(rows, phases, kernel)
    if rows.ndim == 2 and axis is None:
        return np.asarray(rows[0])
    whole = np.moveaxis(rows, (0, 1), (-1, -2)) if axis is None else np.moveaxis(rows, 0, axis)
    return np.ascontiguousarray(whole)


def _largest(room: WeightRoom) -> int:
    return LARGEST_UNSATURATED if room == "half" else LARGEST_WEIGHT


def _ends_for_pairs(
    ends: npt.NDArray[np.float64], weight: npt.NDArray[np.float32], layer: Layer
) -> npt.NDArray[np.float64]:
    """What the largest integers stand for where a pair of weights has no more room than one.

    Smaller ends were tried, whose largest pairs are cut off: more is lost than finer steps gain.

    Args:
        ends: the largest magnitudes, one for each scale.
        weight: of the layer.
        layer: which.
    """
    pairs = largest_pairs(as_rows(weight, layer.axis, layer.subpixel))
    by_scale = pairs.reshape(-1, ends.size).max(axis=0).astype(np.float64)
    return np.asarray(np.maximum(ends, by_scale.reshape(ends.shape)))
