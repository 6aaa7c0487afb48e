"""Which channel of a linear layer each element of the tensors behind it holds.

Numbers of the channels are put where the layer's result is and moved as operators move values: split into
heads, reordered, cut apart. A product of shares and rows mixes rows and leaves channels apart, so it passes
the numbers on as well: that is how the values of an attention come to the layer behind it.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from distq.graph.values import constant

if TYPE_CHECKING:
    import onnx_ir as ir

UNKNOWN_SIZE = 2
"""Taken for a size that is open: with 1 rows and channels could not be told apart."""

Numbers = npt.NDArray[np.intp]


@dataclass(frozen=True)
class End:
    """A node where the numbers go no further, the position of its input, and the numbers there."""

    node: ir.Node
    position: int
    numbers: Numbers


@dataclass
class Carried:
    """What carries channels of one result.

    Attributes:
        values: numbers of the channels in each, shaped as the value.
        ends: the readers that pass none on.
        mixed: values behind a product of shares and rows.
    """

    values: dict[ir.Value, Numbers]
    ends: list[End] = field(default_factory=list)
    mixed: set[ir.Value] = field(default_factory=set)


def carried_from(value: ir.Value) -> Carried | None:
    """Follow the channels of a value, its last axis; None where their number is unknown."""
    sizes = _sizes(value)
    if not sizes or value.shape is None or not isinstance(value.shape[-1], int):
        return None
    found = Carried({value: np.broadcast_to(np.arange(sizes[-1]), sizes)})
    waiting = [value]
    while waiting:
        source = waiting.pop()
        for use in source.uses():
            node, numbers = use.node, found.values[source]
            if node.op_type == "Shape" and not node.domain:
                continue
            moved = _moved(node, use.idx, numbers) if node.graph is value.graph else None
            if moved is None:
                found.ends.append(End(node, use.idx, numbers))
                continue
            for output, its in moved:
                found.values[output] = its
                if source in found.mixed or node.op_type == "MatMul":
                    found.mixed.add(output)
                waiting.append(output)
    return found


def columns_of(numbers: Numbers) -> tuple[int, ...] | None:
    """The channel in each column of rows; None where rows differ, or a channel is in two columns."""
    columns = numbers.reshape(-1, numbers.shape[-1])
    (first, *_) = columns
    same = bool((columns == first).all()) and len(set(first.tolist())) == first.size
    return tuple(first.tolist()) if same else None


def _moved(node: ir.Node, position: int, numbers: Numbers) -> list[tuple[ir.Value, Numbers]] | None:
    """The numbers in each output of a node that moves values; None for any other node."""
    if node.domain or (position != 0 and node.op_type != "MatMul"):
        return None
    found: list[tuple[ir.Value, Numbers]] | None = None
    match node.op_type:
        case "Reshape" | "Flatten" | "Squeeze" | "Unsqueeze" | "Identity":
            sizes = _sizes(node.outputs[0], numbers.size)
            if sizes is not None and math.prod(sizes) == numbers.size:
                found = [(node.outputs[0], numbers.reshape(sizes))]
        case "Transpose":
            order = node.attributes.get_ints("perm", None)
            found = [(node.outputs[0], np.transpose(numbers, order))]
        case "Split":
            found = _split(node, numbers)
        case "Slice" | "Gather":
            found = [(node.outputs[0], its) for its in _taken(node, numbers)]
        case "MatMul":
            found = [(node.outputs[0], its) for its in _mixed(node, position, numbers)]
    return found or None


def _split(node: ir.Node, numbers: Numbers) -> list[tuple[ir.Value, Numbers]] | None:
    axis = node.attributes.get_int("axis", 0)
    parts = [value.shape[axis] if value.shape is not None else None for value in node.outputs]
    lengths = [size for size in parts if isinstance(size, int)]
    if len(lengths) < len(parts) or sum(lengths) != numbers.shape[axis]:
        return None
    cut = np.split(numbers, np.cumsum(lengths)[:-1], axis)
    return list(zip(node.outputs, cut, strict=True))


def _taken(node: ir.Node, numbers: Numbers) -> Iterator[Numbers]:
    """What a Slice or Gather with constant operands takes; nothing where they are not constant."""
    operands = [constant(value) for value in node.inputs[1:]]
    if any(array is None for array in operands):
        return
    given = [array for array in operands if array is not None]
    if node.op_type == "Gather":
        yield np.take(numbers, given[0], node.attributes.get_int("axis", 0))
        return
    starts, ends = given[0].tolist(), given[1].tolist()
    axes = given[2].tolist() if len(given) > 2 else list(range(len(starts)))
    steps = given[3].tolist() if len(given) > 3 else [1] * len(starts)
    if min(steps) > 0:
        parts = [slice(None)] * numbers.ndim
        for start, end, axis, step in zip(starts, ends, axes, steps, strict=True):
            parts[axis] = slice(start, end, step)
        yield numbers[tuple(parts)]


def _mixed(node: ir.Node, position: int, numbers: Numbers) -> Iterator[Numbers]:
    """The numbers behind a product of shares with these rows; nothing where rows carry unlike channels."""
    shares, sizes = node.inputs[0], _sizes(node.outputs[0])
    if position != 1 or shares is None or constant(shares) is not None or numbers.ndim < 2:
        return
    one = numbers[..., :1, :]
    if sizes is None or shares is node.inputs[1] or not (numbers == one).all():
        return
    if len(sizes) >= numbers.ndim and sizes[-1] == numbers.shape[-1]:
        leading = np.broadcast_shapes(tuple(sizes[:-2]), numbers.shape[:-2])
        yield np.broadcast_to(one, (*leading, sizes[-2], sizes[-1]))


def _sizes(value: ir.Value, elements: int | None = None) -> tuple[int, ...] | None:
    """A value's sizes; one that is open alone is what is left of so many elements."""
    if value.shape is None:
        return None
    sizes = [size if isinstance(size, int) else None for size in value.shape]
    known = math.prod(size for size in sizes if size is not None)
    left = UNKNOWN_SIZE
    if elements is not None and sizes.count(None) == 1 and known:
        left = elements // known
    return tuple(left if size is None else size for size in sizes)
