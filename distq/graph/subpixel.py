"""ConvTranspose as a sub-pixel convolution: a Conv of the input's own size, whose channels become pixels.

Every output of a ConvTranspose with stride s reads pixels at one of s phases of the kernel. So a Conv with s
times the channels along each axis computes them all, one group of channels a phase (Shi et al., "Is the
deconvolution layer the same as a convolutional layer?", 2016). Runtimes that have integer kernels for a Conv
alone then multiply in integers.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from distq.graph.patches import Geometry
from distq.graph.values import constant

if TYPE_CHECKING:
    import onnx_ir as ir

    from distq.graph.layers import Layer
    from distq.graph.plan import Plan

LEAST_INPUTS = 8
"""Values that each of the Conv's outputs is a sum of at least: with fewer the shuffle takes longer than
integers save."""

ENOUGH = 16
"""Channels of the Conv, or of single pixels that it reads, of which one is needed: with fewer of both its
kernel leaves most of each register empty."""

MOST_IDLE = 2.25
"""Multiplications of a kernel's, zeros included, up to which integers win: 16 for 9 of a kernel of 3 by 3."""


@dataclass(frozen=True)
class Spread:
    """How a Conv computes a ConvTranspose.

    Attributes:
        taps: size of its kernel.
        pads: pixels around its input, as the attribute of Conv has them.
        starts, ends: pixels cut off each axis behind the shuffle.
    """

    taps: tuple[int, ...]
    pads: tuple[int, ...]
    starts: tuple[int, ...]
    ends: tuple[int, ...]


def spread(geometry: Geometry, size: tuple[int, ...]) -> Spread:
    """How a Conv computes a ConvTranspose without groups and dilations.

    Args:
        geometry: of the ConvTranspose.
        size: of its input; of any, unless it has ``output_shape``.
    """
    strides, taps = geometry.strides, geometry.taps
    first = tuple(before for before, _ in geometry.padding(size))
    behind = tuple(p + n for p, n in zip(first, geometry.positions(size), strict=True))
    left = (t - 1 - p // s for t, p, s in zip(taps, first, strides, strict=True))
    right = ((b - 1) // s + 1 - n for b, s, n in zip(behind, strides, size, strict=True))
    return Spread(
        taps,
        (*left, *right),
        tuple(p % s for p, s in zip(first, strides, strict=True)),
        tuple(-b % s for b, s in zip(behind, strides, strict=True)),
    )


def as_conv_geometry(geometry: Geometry, size: tuple[int, ...]) -> Geometry:
    """How a layer walks over its input: a ConvTranspose as its Conv does."""
    if geometry.op != "ConvTranspose":
        return geometry
    ones = (1,) * len(geometry.taps)
    found = spread(geometry, size)
    return replace(
        geometry,
        op="Conv",
        kernel=found.taps,
        strides=ones,
        pads=found.pads,
        auto_pad="NOTSET",
        output_padding=(0,) * len(ones),
        output_shape=(),
    )


def strides_of(model: ir.Model, layer: Layer) -> tuple[int, ...]:
    """The strides of a layer that a sub-pixel convolution computes sooner than float; empty: it does not."""
    if layer.op != "ConvTranspose":
        return ()
    node, geometry = model.graph.node(layer.node), Geometry.of(model, layer)
    weight, size = constant(node.inputs[1]), _size(node.inputs[0])
    if weight is None or size is None or geometry.group != 1 or any(d != 1 for d in geometry.dilations):
        return ()
    if geometry.output_shape and None in size:
        return ()
    if geometry.auto_pad.startswith("SAME") and any(geometry.output_padding):
        return ()  # onnx and ONNX Runtime do not agree on its size
    if not _is_faster(geometry, *weight.shape[:2]):
        return ()
    whole = spread(geometry, tuple(n or 1 for n in size))
    return geometry.strides if min(whole.pads) >= 0 else ()


def _is_faster(geometry: Geometry, inputs: int, outputs: int) -> bool:
    """Whether integers win, as measured with ONNX Runtime 1.31 (docs/decisions/subpixel-convolution.md)."""
    taps, phases = math.prod(geometry.taps), math.prod(geometry.strides)
    fills = outputs * phases >= ENOUGH or (taps == 1 and inputs >= ENOUGH) or phases == 1
    idle = taps * phases / math.prod(geometry.kernel)
    return inputs * taps >= LEAST_INPUTS and fills and idle <= MOST_IDLE


def without_subpixels(plan: Plan) -> Plan:
    """The plan with every layer written as the operator that it is."""
    return replace(plan, layers=tuple(replace(layer, subpixel=()) for layer in plan.layers))


def as_conv(weight: npt.NDArray[Any], strides: tuple[int, ...]) -> npt.NDArray[Any]:
    """The weights of the Conv.

    Args:
        weight: (inputs, outputs, *kernel) of the ConvTranspose.
        strides: of it; empty: of a layer that is written as it is.

    Returns:
        (phases * outputs, inputs, *taps), the outputs of the first phase first; zeros where the kernel ends.
    """
    if not strides:
        return weight
    rank = len(strides)
    taps = [-(-k // s) for k, s in zip(weight.shape[2:], strides, strict=True)]
    more = [(0, t * s - k) for t, s, k in zip(taps, strides, weight.shape[2:], strict=True)]
    whole = np.pad(weight, [(0, 0), (0, 0), *more])
    parted = whole.reshape(*weight.shape[:2], *(n for pair in zip(taps, strides, strict=True) for n in pair))
    turned = np.flip(parted, tuple(range(2, 2 + 2 * rank, 2)))  # a Conv meets pixels from the other side
    phases = range(3, 3 + 2 * rank, 2)
    ordered = turned.transpose(*phases, 1, 0, *range(2, 2 + 2 * rank, 2))
    return np.ascontiguousarray(ordered.reshape(-1, weight.shape[0], *taps))


def from_conv(
    weight: npt.NDArray[Any], strides: tuple[int, ...], kernel: tuple[int, ...]
) -> npt.NDArray[Any]:
    """The weights of the ConvTranspose from those that :func:`as_conv` gives."""
    rank = len(strides)
    inputs, taps = weight.shape[1], weight.shape[2:]
    parted = weight.reshape(*strides, -1, inputs, *taps)
    order = [rank + 1, rank, *(axis for i in range(rank) for axis in (rank + 2 + i, i))]
    turned = np.flip(parted.transpose(order), tuple(range(2, 2 + 2 * rank, 2)))
    whole = turned.reshape(inputs, -1, *(t * s for t, s in zip(taps, strides, strict=True)))
    return np.ascontiguousarray(whole[(slice(None), slice(None), *map(slice, kernel))])


def by_phase(numbers: npt.NDArray[Any], strides: tuple[int, ...]) -> npt.NDArray[Any]:
    """Numbers of output channels, (outputs,), as the Conv has them; one for all stays one."""
    return np.tile(numbers, math.prod(strides)) if numbers.ndim else numbers


def _size(value: ir.Value | None) -> tuple[int | None, ...] | None:
    if value is None or value.shape is None or len(value.shape) < 3:
        return None
    return tuple(n if isinstance(n, int) and n > 0 else None for n in value.shape[2:])
