"""Layers that move numbers and compute none: Concat, Slice, Reshape, Flatten, Permute, Crop, Tile, Reorg."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from math import prod

from distq.exchange.caffe.builder import Builder, Shape
from distq.exchange.caffe.network import Layer
from distq.exchange.caffe.schema import Message


def concat(net: Builder, layer: Layer) -> None:
    """Join along ``axis``, which old files call ``concat_dim``."""
    parameters, shape = layer.message.concat_param, net.shape(layer)
    axis = layer.axis(parameters.concat_dim if parameters.HasField("concat_dim") else parameters.axis, shape)
    if axis == 0:
        net.fix_batch(layer)
    shapes = [net.shapes[bottom] for bottom in layer.bottoms]
    if len({(*s[:axis], *s[axis + 1 :]) for s in shapes}) != 1:
        raise layer.error(
            f"joins different shapes along axis {axis}: {', '.join(str(list(s)) for s in shapes)}"
        )
    joined = (*shape[:axis], sum(s[axis] for s in shapes), *shape[axis + 1 :])
    net.add(layer, "Concat", layer.bottoms, joined, output=layer.tops[0], axis=axis)


def cut(net: Builder, layer: Layer) -> None:
    """Caffe's Slice: cut along ``axis`` at the points given, or into equal parts."""
    parameters, shape = layer.message.slice_param, net.shape(layer)
    axis = layer.axis(parameters.slice_dim if parameters.HasField("slice_dim") else parameters.axis, shape)
    if axis == 0:
        net.fix_batch(layer)
    count, size = len(layer.tops), shape[axis]
    points = [0, *parameters.slice_point, size]
    if not parameters.slice_point:
        points = [size * position // count for position in range(count + 1)]
    sizes = [end - start for start, end in pairwise(points)]
    even = parameters.slice_point or size % count == 0
    if len(sizes) != count or min(sizes) < 1 or not even:
        raise layer.error(
            f"cannot cut {size} along axis {axis} into {count} tops at {list(parameters.slice_point)}"
        )
    if count == 1:
        net.add(layer, "Identity", layer.bottoms, shape, output=layer.tops[0])
    else:
        split(net, layer, layer.bottoms[0], (axis, sizes), layer.tops)


def reshape(net: Builder, layer: Layer) -> None:
    """Replace the axes from ``axis`` on; 0 keeps a size, -1 is what remains."""
    parameters, shape = layer.message.reshape_param, net.shape(layer)
    start = parameters.axis if parameters.axis >= 0 else parameters.axis + len(shape) + 1
    end = len(shape) if parameters.num_axes == -1 else start + parameters.num_axes
    dims = list(parameters.shape.dim)
    if not 0 <= start <= end <= len(shape) or dims.count(-1) > 1:
        raise layer.error(f"cannot give {list(shape)} the shape {dims} from axis {parameters.axis} on")
    try:
        middle = [shape[start + position] if size == 0 else size for position, size in enumerate(dims)]
    except IndexError:
        raise layer.error(f"keeps an axis that {list(shape)} does not have") from None
    target = [*shape[:start], *middle, *shape[end:]]
    if -1 in target:
        known = -prod(target)
        target[target.index(-1)] = prod(shape) // known if known else 0
    if prod(target) != prod(shape):
        raise layer.error(f"cannot give {list(shape)} the shape {dims}: the number of values differs")
    net.reshape(layer, layer.bottoms[0], tuple(target), layer.tops[0])


def flatten(net: Builder, layer: Layer) -> None:
    """Join the axes from ``axis`` to ``end_axis``."""
    parameters, shape = layer.message.flatten_param, net.shape(layer)
    start, end = layer.axis(parameters.axis, shape), layer.axis(parameters.end_axis, shape)
    if start > end:
        raise layer.error(f"has its axis {start} behind its end_axis {end}")
    target = (*shape[:start], prod(shape[start : end + 1]), *shape[end + 1 :])
    net.reshape(layer, layer.bottoms[0], target, layer.tops[0])


def permute(net: Builder, layer: Layer) -> None:
    """Order the axes anew; those that are not listed follow in their order."""
    shape, order = net.shape(layer), list(layer.message.permute_param.order)
    order += [axis for axis in range(len(shape)) if axis not in order]
    if sorted(order) != list(range(len(shape))):
        raise layer.error(f"orders the axes {order} of an input with {len(shape)}")
    if order[0] != 0:
        net.fix_batch(layer)
    moved = tuple(shape[axis] for axis in order)
    net.add(layer, "Transpose", layer.bottoms, moved, output=layer.tops[0], perm=order)


def crop(net: Builder, layer: Layer) -> None:
    """Take the size of the second bottom, from ``axis`` on, at an offset for each axis or one for all."""
    parameters, shape, reference = layer.message.crop_param, net.shape(layer), net.shape(layer, 1)
    axis, offsets = layer.axis(parameters.axis, shape), list(parameters.offset) or [0]
    axes = list(range(axis, len(shape)))
    if len(offsets) not in {1, len(axes)} or len(reference) != len(shape):
        raise layer.error(f"has {len(offsets)} offsets for the axes from {axis} on")
    starts = offsets * (len(axes) if len(offsets) == 1 else 1)
    ends = [start + reference[a] for start, a in zip(starts, axes, strict=True)]
    if any(end > shape[a] for end, a in zip(ends, axes, strict=True)):
        raise layer.error(f"takes {list(reference)} at {starts} out of {list(shape)}, which is too small")
    if axis == 0:
        net.fix_batch(layer)
    take(net, layer, layer.bottoms[0], (starts, ends, axes), layer.tops[0])


def take(
    net: Builder,
    layer: Layer,
    source: str,
    window: tuple[list[int], list[int], list[int]],
    output: str | None = None,
) -> str:
    """A part of a tensor: (starts, ends, axes)."""
    starts, ends, axes = window
    shape = list(net.shapes[source])
    for start, end, axis in zip(starts, ends, axes, strict=True):
        shape[axis] = end - start
    roles = ("starts", starts), ("ends", ends), ("axes", axes)
    operands = [net.constant(layer, role, values) for role, values in roles]
    return net.add(layer, "Slice", [source, *operands], tuple(shape), output=output)


def split(
    net: Builder, layer: Layer, source: str, parts: tuple[int, list[int]], outputs: Sequence[str | None]
) -> list[str]:
    """Cut a tensor into parts: (axis, sizes)."""
    axis, sizes = parts
    shape = net.shapes[source]
    results = [
        ((*shape[:axis], size, *shape[axis + 1 :]), name) for size, name in zip(sizes, outputs, strict=True)
    ]
    return net.add_all(layer, "Split", [source, net.constant(layer, "split", sizes)], results, axis=axis)


def tile(net: Builder, layer: Layer) -> None:
    """Repeat along ``axis``."""
    parameters, shape = layer.message.tile_param, net.shape(layer)
    axis = layer.axis(parameters.axis, shape)
    if axis == 0:
        net.fix_batch(layer)
    repeats = [1] * len(shape)
    repeats[axis] = parameters.tiles
    tiled = tuple(size * count for size, count in zip(shape, repeats, strict=True))
    net.add(
        layer,
        "Tile",
        [layer.bottoms[0], net.constant(layer, "repeats", repeats)],
        tiled,
        output=layer.tops[0],
    )


def shuffle_channel(net: Builder, layer: Layer) -> None:
    """Take channels in turn from each group (ShuffleNet)."""
    shape, group = net.shape(layer), layer.message.shuffle_channel_param.group
    if group < 1 or shape[1] % group:
        raise layer.error(f"cannot divide {shape[1]} channels into {group} groups")
    grouped: Shape = (shape[0], group, shape[1] // group, *shape[2:])
    apart = net.reshape(layer, layer.bottoms[0], grouped)
    order = [0, 2, 1, *range(3, len(grouped))]
    mixed = net.add(layer, "Transpose", [apart], tuple(grouped[a] for a in order), perm=order)
    net.reshape(layer, mixed, shape, layer.tops[0])


def reorg(net: Builder, layer: Layer) -> None:
    """Move blocks of pixels into channels, place in the block first.

    As the Sophgo fork computes it. OpenCV has darknet's index arithmetic, which gives another order.
    """
    parameters, shape = layer.message.reorg_param, net.shape(layer)
    stride = parameters.stride
    if parameters.reverse:
        raise layer.error("has reverse: true, which forks compute in different ways: use Reshape and Permute")
    if len(shape) != 4 or stride < 1 or shape[2] % stride or shape[3] % stride:
        raise layer.error(f"cannot cut {list(shape)} into blocks of {stride}x{stride}")
    target = (shape[0], shape[1] * stride**2, shape[2] // stride, shape[3] // stride)
    net.add(layer, "SpaceToDepth", layer.bottoms, target, output=layer.tops[0], blocksize=stride)


def size_of(message: Message, height: str, width: str) -> tuple[int, int] | None:
    """Two fields that give a size together; None where they do not."""
    found = getattr(message, height), getattr(message, width)
    return found if min(found) > 0 else None
