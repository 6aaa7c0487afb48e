"""What a layer's weights multiply: its input patches, summed over all positions and sampled at some.

A layer is linear in its patches, so their mean gives the mean of its output for any weights, and their
covariance the variance of what rounding does to it.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from distq.graph.layers import Layer
from distq.graph.values import constant
from distq.quant.scheme import ZeroPoints, on_channels

if TYPE_CHECKING:
    import onnx_ir as ir

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Geometry:
    """How a Conv, ConvTranspose or Gemm walks over its input; a MatMul is a Gemm of rows.

    Plain values, so that it travels with a unit.
    """

    op: str
    kernel: tuple[int, ...]
    strides: tuple[int, ...]
    dilations: tuple[int, ...]
    pads: tuple[int, ...]
    auto_pad: str
    output_padding: tuple[int, ...]
    group: int
    output_shape: tuple[int, ...] = ()

    @classmethod
    def of(cls, model: ir.Model, layer: Layer) -> Geometry:
        """Read it from the layer's node."""
        node = model.graph.node(layer.node)
        weight = constant(node.inputs[1])
        kernel = (
            ()
            if weight is None or layer.op in {"Gemm", "MatMul"}
            else tuple(int(d) for d in weight.shape[2:])
        )
        rank = len(kernel)
        get = node.attributes.get_ints
        return cls(
            op="Gemm" if layer.op == "MatMul" else layer.op,
            kernel=kernel,
            strides=tuple(get("strides", [1] * rank)),
            dilations=tuple(get("dilations", [1] * rank)),
            pads=tuple(get("pads", [0] * 2 * rank)),
            auto_pad=node.attributes.get_string("auto_pad", "NOTSET"),
            output_padding=tuple(get("output_padding", [0] * rank)),
            group=node.attributes.get_int("group", 1),
            output_shape=tuple(get("output_shape", []))[-rank:] if rank else (),
        )

    @property
    def taps(self) -> tuple[int, ...]:
        """Pixels along each axis that an output is a sum of; of a ConvTranspose a phase of its kernel."""
        if self.op != "ConvTranspose":
            return self.kernel
        return tuple(-(-k // s) for k, s in zip(self.kernel, self.strides, strict=True))

    def images(self, data: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """What a layer reads, one sample after the other: of a MatMul each row is one, (rows, features)."""
        return data.reshape(-1, data.shape[-1]) if self.op == "Gemm" else data

    def padding(self, size: tuple[int, ...]) -> tuple[tuple[int, int], ...]:
        """Pixels added around each axis of an input of this size (Conv), or cut off (ConvTranspose).

        With ``output_shape`` the pads follow from it, by the formula of the ONNX operator ConvTranspose.
        """
        rank = len(self.kernel)
        if not self.output_shape and self.auto_pad in {"NOTSET", ""}:
            return tuple((self.pads[i], self.pads[i + rank]) for i in range(rank))
        if not self.output_shape and self.auto_pad == "VALID":
            return ((0, 0),) * rank
        found = []
        for axis in range(rank):
            reach = (self.kernel[axis] - 1) * self.dilations[axis] + 1
            if self.op == "Conv":
                positions = -(-size[axis] // self.strides[axis])
                total = max((positions - 1) * self.strides[axis] + reach - size[axis], 0)
            elif self.output_shape:
                grown = (size[axis] - 1) * self.strides[axis] + reach + self.output_padding[axis]
                total = max(grown - self.output_shape[axis], 0)
            else:
                total = max(reach + self.output_padding[axis] - self.strides[axis], 0)
            small, large = total // 2, total - total // 2
            found.append((small, large) if self.auto_pad == "SAME_UPPER" else (large, small))
        return tuple(found)

    def positions(self, size: tuple[int, ...]) -> tuple[int, ...]:
        """Output positions along each axis for an input of this size."""
        found = []
        for axis, (before, after) in enumerate(self.padding(size)):
            reach = (self.kernel[axis] - 1) * self.dilations[axis] + 1
            if self.op == "Conv":
                found.append((size[axis] + before + after - reach) // self.strides[axis] + 1)
            elif self.output_shape:
                found.append(self.output_shape[axis])
            else:
                outputs = (size[axis] - 1) * self.strides[axis] + reach + self.output_padding[axis]
                found.append(outputs - before - after)
        return tuple(found)

    def met(self, size: tuple[int, ...], positions: tuple[int, ...]) -> list[Floats]:
        """For each axis (kernel offsets, pixels).

        1 where a pixel is multiplied at that offset, for some output.
        """
        found = []
        for axis, (before, _) in enumerate(self.padding(size)):
            offsets = np.arange(self.kernel[axis])[:, None] * self.dilations[axis] - before
            stride, matrix = self.strides[axis], np.zeros((self.kernel[axis], size[axis]))
            if self.op == "Conv":
                pixels = offsets + np.arange(positions[axis]) * stride
                inside = (pixels >= 0) & (pixels < size[axis])
                matrix[np.nonzero(inside)[0], pixels[inside]] = 1.0
            else:
                outputs = offsets + np.arange(size[axis]) * stride
                matrix[(outputs >= 0) & (outputs < positions[axis])] = 1.0
            found.append(matrix)
        return found


def patch_sums(geometry: Geometry, summed: Floats, count: int, zero_point: ZeroPoints) -> tuple[Floats, int]:
    """Sum of each patch element over all output positions; the sums are of integers and exact.

    Along each axis a kernel offset meets some of the input's pixels, whatever the other axes do; so the sums
    are products with one matrix of zeros and ones an axis.

    Args:
        geometry: of the layer.
        summed: its integer inputs, added up: (channels, ...).
        count: how many these were.
        zero_point: the integer that stands for zero, or that of each channel.

    Returns:
        (channels, *kernel) of integers less the zero point, and the number of output positions of all inputs.
    """
    sums = summed - on_channels(zero_point, summed.ndim) * count
    if geometry.op == "Gemm":
        return sums, count
    positions = geometry.positions(summed.shape[1:])
    for matrix in geometry.met(summed.shape[1:], positions):
        # each turn takes the first remaining axis of pixels and appends one of kernel offsets
        sums = np.tensordot(sums, matrix, axes=(1, 1))
    return sums, count * int(np.prod(positions))


def sampled_patches(
    geometry: Geometry, data: npt.NDArray[Any], zero_point: ZeroPoints, most: int, seed: int
) -> npt.NDArray[Any]:
    """Patches at up to ``most`` positions of the first image, evenly spread from where ``seed`` starts.

    Returns:
        (positions, channels, prod(kernel)) for Conv, (batch, features, 1) for Gemm; integers less the zero
        point, float32 for those of 8 bits, else float64.
    """
    exact = np.dtype(np.float32 if data.dtype.itemsize == 1 else np.float64)
    if geometry.op == "Gemm":
        return _centred(data[_spread(len(data), most, seed), :, None], zero_point, exact)
    size = data.shape[2:]
    positions = geometry.positions(size)
    chosen = _spread(int(np.prod(positions)), most, seed)
    count = len(chosen)
    offsets = np.unravel_index(np.arange(math.prod(geometry.kernel)), geometry.kernel)
    inside = np.ones((count, len(offsets[0])), bool)
    pixels = []
    for axis, starts in enumerate(np.unravel_index(chosen, positions)):
        first = starts * geometry.strides[axis] - geometry.padding(size)[axis][0]
        pixel = first[:, None] + offsets[axis] * geometry.dilations[axis]
        inside &= (pixel >= 0) & (pixel < size[axis])
        pixels.append(np.clip(pixel, 0, size[axis] - 1))
    found = _centred(data[0][(slice(None), *pixels)], zero_point, exact)  # (channels, positions, kernel)
    found *= inside  # padding is zero
    return found.transpose(1, 0, 2)


def _spread(total: int, most: int, seed: int) -> npt.NDArray[np.int64]:
    """Up to ``most`` of so many positions, evenly spread from where ``seed`` starts."""
    count = min(most, total)
    shift = (seed * 0.6180339887498949) % 1.0
    return np.minimum(((np.arange(count) + shift) * total / count).astype(np.int64), total - 1)


def _centred(data: npt.NDArray[Any], zero_point: ZeroPoints, dtype: np.dtype[Any]) -> npt.NDArray[Any]:
    found = data.astype(dtype)
    found -= on_channels(zero_point, found.ndim).astype(dtype)
    return found
