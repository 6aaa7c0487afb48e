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
from distq.graph.patches import Geometry
from distq.graph.plan import Plan
from distq.graph.state import Names
from distq.graph.subpixel import Spread, spread
from distq.graph.values import constant


def write_subpixels(
    model: ir.Model, plan: Plan, names: Names, scales_of: Callable[[str], list[ir.Value]]
) -> list[ir.Node]:
    """Write each layer so that the plan has as a sub-pixel convolution.

    The Conv has the name of the node, the end of the shuffle its output; the Conv's weights and bias and the
    quantizer behind are still to be put there.

    Args:
        model: changed in place.
        plan: for it.
        names: of what is added.
        scales_of: gives scale and zero point of a quantizer by its name.

    Returns:
        Nodes that read the shape of a tensor, which may as well be its integers.
    """
    nodes = {node.name: node for node in model.graph}
    shapes: list[ir.Node] = []
    for layer in plan.layers:
        if layer.subpixel:
            node = nodes[layer.node]
            tensor = node.outputs[0].name or ""
            quantizer = scales_of(plan.by_tensor[tensor].name)
            shapes += _Shuffle(model, layer, node, names.subpixel(tensor), quantizer).write()
    return shapes


class _Shuffle:
    """Writes one layer."""

    def __init__(
        self, model: ir.Model, layer: Layer, node: ir.Node, stem: str, quantizer: Sequence[ir.Value]
    ) -> None:
        self._graph, self._node, self._stem, self._quantizer = model.graph, node, stem, quantizer
        self._geometry = Geometry.of(model, layer)
        self._strides = layer.subpixel
        weight = constant(node.inputs[1])
        self._outputs = 0 if weight is None else weight.shape[1]
        data = node.inputs[0]
        shape = None if data is None or data.shape is None else list(data.shape)[2:]
        self._size = [n if isinstance(n, int) and n > 0 else None for n in shape or ()]
        self._shapes: list[ir.Node] = []

    def write(self) -> list[ir.Node]:
        """The nodes that read a shape."""
        how = spread(self._geometry, tuple(n or 1 for n in self._size))
        rank, strides = len(self._strides), self._strides
        attributes = {"kernel_shape": how.taps, "pads": how.pads, "strides": (1,) * rank}
        steps: list[Callable[[ir.Value], ir.Node]] = [
            lambda _: ir.node("Conv", self._node.inputs, attributes, name=self._node.name)
        ]
        axes = range(1, 1 + rank)
        if math.prod(strides) > 1:
            steps.append(lambda v: ir.node("Transpose", [v], {"perm": [0, *(a + 1 for a in axes), 1]}))
            if math.prod(strides[:-1]) > 1:
                parted = [*(0,) * (1 + rank), *strides[:-1], strides[-1] * self._outputs]
                steps.append(lambda v: ir.node("Reshape", [v, self._sizes("parted", parted)]))
                order = [0, *(n for a in axes[:-1] for n in (a, a + rank)), rank, 2 * rank]
                steps.append(lambda v: ir.node("Transpose", [v], {"perm": order}))
            steps.append(lambda v: ir.node("Reshape", [v, self._joined(how)]))
            steps.append(lambda v: ir.node("Transpose", [v], {"perm": [0, 1 + rank, *axes]}))
        if any((*how.starts, *how.ends)):
            steps.append(lambda v: ir.node("Slice", [v, *self._bounds(how)]))
        value: ir.Value = self._node.outputs[0]
        made: list[ir.Node] = []
        for number, step in enumerate(steps):
            made.append(step(value))
            made[-1].name = made[-1].name or f"{self._stem}_{number}"
            value = made[-1].outputs[0]
            if number < len(steps) - 1:
                value.name = f"{self._stem}_{number}"
                made += self._rounded(value)
                value = made[-1].outputs[0]
        self._graph.insert_before(self._node, [*self._shapes, *made])
        take_over(value, self._node)
        return self._shapes[:1]

    def _rounded(self, value: ir.Value) -> tuple[ir.Node, ir.Node]:
        """The quantizer of the layer's output, between two of the nodes."""
        quantize = ir.node("QuantizeLinear", [value, *self._quantizer], name=f"{value.name}_quantize")
        quantize.outputs[0].name = f"{value.name}_quantized"
        back = [quantize.outputs[0], *self._quantizer]
        dequantize = ir.node("DequantizeLinear", back, name=f"{value.name}_dequantize")
        dequantize.outputs[0].name = f"{value.name}_dequantized"
        return quantize, dequantize

    def _sizes(self, what: str, sizes: Sequence[int]) -> ir.Value:
        return register(self._graph, f"{self._stem}_{what}", np.array(sizes, np.int64))

    def _joined(self, how: Spread) -> ir.Value:
        """The shape with all pixels of the phases along their axes, and the channels last."""
        rank = len(self._size)
        more = [sum(how.pads[axis::rank]) - how.taps[axis] + 1 for axis in range(rank)]
        strides = self._strides
        known = [n and (n + m) * s for n, m, s in zip(self._size, more, strides, strict=True)]
        if known.count(None) < 2 and (None not in known[:-1] or math.prod(strides[:-1]) > 1):
            return self._sizes("joined", [0, *(n or -1 for n in known), self._outputs])
        if math.prod(strides[:-1]) == 1:  # nothing but the last axis was parted
            return self._sizes("joined", [*(0,) * rank, -1, self._outputs])
        picked = self._sizes("axes", [0, *range(2, 2 + rank)])
        grown, scaled = self._sizes("more", [0, *more]), self._sizes("strides", [1, *strides])
        shape = self._shape("Shape", self._node.inputs[0])
        sizes = self._shape("Gather", shape, picked)
        whole = self._shape("Mul", self._shape("Add", sizes, grown), scaled)
        return self._shape("Concat", whole, self._sizes("outputs", [self._outputs]), axis=0)

    def _shape(self, op: str, *inputs: ir.Value | None, **attributes: int) -> ir.Value:
        node = ir.node(op, inputs, attributes, name=f"{self._stem}_{op}")
        node.outputs[0].name = node.name
        node.outputs[0].type = ir.TensorType(ir.DataType.INT64)
        self._shapes.append(node)
        return node.outputs[0]

    def _bounds(self, how: Spread) -> list[ir.Value]:
        """Starts, ends and axes of the Slice that cuts off what is more than the layer writes."""
        axes = [a for a, (start, end) in enumerate(zip(how.starts, how.ends, strict=True)) if start or end]
        last = np.iinfo(np.int64).max
        return [
            self._sizes("starts", [how.starts[a] for a in axes]),
            self._sizes("ends", [-how.ends[a] if how.ends[a] else last for a in axes]),
            self._sizes("cut", [2 + a for a in axes]),
        ]
