"""A ConvTranspose written as a Conv and a shuffle of its channels to pixels (``graph.subpixel``).

ONNX Runtime computes an integer Conv with the channels last. So the shuffle is written with the channels last
too, and its first and last Transpose meet others that undo them. DepthToSpace, which has the channels first,
takes two to four times as long. (measured with ONNX Runtime 1.31)
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np
import onnx_ir as ir

from distq.graph.edits import register, take_over
from distq.graph.layers import Layer
from distq.graph.names import Names
from distq.graph.patches import Geometry
from distq.graph.plan import Plan
from distq.graph.subpixel import Spread, spread
from distq.graph.values import constant


def write_subpixels(
    model: ir.Model, plan: Plan, names: Names, scales_of: Callable[[str], list[ir.Value]]
) -> None:
    """Write each layer so that the plan has as a sub-pixel convolution.

    The Conv has the name of the node, the end of the shuffle its output; the Conv's weights and bias and the
    quantizer behind are still to be put there.

    Args:
        model: changed in place.
        plan: for it.
        names: of what is added.
        scales_of: gives scale and zero point of a quantizer by its name.
    """
    nodes = {node.name: node for node in model.graph}
    for layer in plan.layers:
        if layer.subpixel:
            node = nodes[layer.node]
            tensor = node.outputs[0].name or ""
            scales = scales_of(plan.by_tensor[tensor].name)
            _Shuffle(model, layer, node, names.subpixel(tensor), scales).write()


class _Shuffle:
    """Writes one layer: its nodes one behind the other, with the quantizer of its output between them."""

    def __init__(
        self, model: ir.Model, layer: Layer, node: ir.Node, stem: str, scales: Sequence[ir.Value]
    ) -> None:
        weight, data = constant(node.inputs[1]), node.inputs[0]
        shape = None if data is None or data.shape is None else list(data.shape)[2:]
        size = [n if isinstance(n, int) and n > 0 else None for n in shape or ()]
        self._graph, self._node, self._stem, self._scales = model.graph, node, stem, scales
        self._strides, self._outputs = layer.subpixel, 0 if weight is None else weight.shape[1]
        self._how = spread(Geometry.of(model, layer), tuple(n or 1 for n in size))
        more = (sum(self._how.pads[i :: len(size)]) - taps + 1 for i, taps in enumerate(self._how.taps))
        self._pixels = [
            None if n is None else (n + m) * s for n, m, s in zip(size, more, self._strides, strict=True)
        ]
        self._made: list[ir.Node] = []
        self._steps, self._last = 0, node.outputs[0]
        self._integers: ir.Value | None = None

    def write(self) -> None:
        """Put all of it in the node's place."""
        how, rank = self._how, len(self._strides)
        attributes = {"kernel_shape": how.taps, "pads": how.pads, "strides": (1,) * rank}
        self._add(ir.node("Conv", self._node.inputs, attributes, name=self._node.name))
        if math.prod(self._strides) > 1:
            self._shuffle([*range(1, 1 + rank)])
        if any((*how.starts, *how.ends)):
            self._then("Slice", *self._bounds(how))
        self._graph.insert_before(self._node, self._made)
        take_over(self._last, self._node)

    def _shuffle(self, axes: list[int]) -> None:
        """Bring the phases to their pixels: those of the last axis lie in place already."""
        *others, last = self._strides
        self._then("Transpose", perm=[0, *(axis + 1 for axis in axes), 1])
        joined = self._joined(self._rounded())
        if math.prod(others) > 1:
            parted = [*(0 for _ in (0, *axes)), *others, last * self._outputs]
            self._then("Reshape", self._sizes("parted", parted))
            paired = [n for axis in axes[:-1] for n in (axis, axis + len(axes))]
            self._then("Transpose", perm=[0, *paired, axes[-1], 2 * len(axes)])
        self._then("Reshape", joined)
        self._then("Transpose", perm=[0, 1 + len(axes), *axes])

    def _joined(self, sums: ir.Value) -> ir.Value:
        """The shape with all pixels along their axes and the channels last.

        Args:
            sums: what the Conv gives, with the channels last.
        """
        axes = range(len(self._strides))
        kept = [0 if s == 1 else p for s, p in zip(self._strides, self._pixels, strict=True)]
        if math.prod(self._strides[:-1]) > 1:  # axes are no longer where they were
            kept = list(self._pixels)
        if kept.count(None) < 2:
            return self._sizes("joined", [0, *(-1 if n is None else n for n in kept), self._outputs])
        strides = self._sizes("strides", [1, *self._strides, 0])
        rest = self._sizes("rest", [*(0 for _ in (0, *axes)), -1])
        shape = self._shape("Shape", sums)
        return self._shape("Add", self._shape("Mul", shape, strides), rest)

    def _bounds(self, how: Spread) -> list[ir.Value]:
        """Starts, ends and axes of the Slice that cuts off what is more than the layer writes."""
        axes = [a for a, (start, end) in enumerate(zip(how.starts, how.ends, strict=True)) if start or end]
        last = np.iinfo(np.int64).max
        return [
            self._sizes("starts", [how.starts[a] for a in axes]),
            self._sizes("ends", [-how.ends[a] if how.ends[a] else last for a in axes]),
            self._sizes("axes", [2 + a for a in axes]),
        ]

    def _then(self, op: str, *inputs: ir.Value, **attributes: Sequence[int]) -> None:
        """Append a node that reads what the last one writes, behind the quantizer."""
        back = self._add(ir.node("DequantizeLinear", [self._rounded(), *self._scales]), "_dequantized")
        self._add(ir.node(op, [back, *inputs], attributes))

    def _rounded(self) -> ir.Value:
        """The integers of what the last node writes."""
        if self._integers is None:
            quantize = ir.node("QuantizeLinear", [self._last, *self._scales])
            self._integers = self._add(quantize, "_quantized")
        return self._integers

    def _add(self, node: ir.Node, part: str = "") -> ir.Value:
        """Append a node: one of the quantizer, or the next of those it stands between."""
        value = node.outputs[0]
        if not part:
            self._steps, self._last, self._integers = self._steps + 1, value, None
        value.name = f"{self._stem}_{self._steps}{part}"
        node.name = node.name or value.name
        self._made.append(node)
        return value

    def _shape(self, op: str, *inputs: ir.Value) -> ir.Value:
        """Append a node that computes a shape."""
        node = ir.node(op, inputs, name=f"{self._stem}_{op}")
        node.outputs[0].name = node.name
        self._made.append(node)
        return node.outputs[0]

    def _sizes(self, what: str, sizes: Sequence[int]) -> ir.Value:
        return register(self._graph, f"{self._stem}_{what}", np.array(sizes, np.int64))
