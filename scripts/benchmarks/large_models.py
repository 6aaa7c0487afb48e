"""Large networks with random weights: what they cost depends on their shapes, not on what they compute.

Weights keep the variance of what flows through them (He et al., "Delving Deep into Rectifiers", ICCV 2015),
so that no tensor is zero or infinite however deep the network is.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
import onnx
from onnx import TensorProto, helper, numpy_helper

OUTLIERS = 0.02
"""Share of a LayerNorm's channels whose scale is ten times the others', as trained transformers have them."""


@dataclass
class Graph:
    """A graph that grows node by node, each known by the tensor it makes."""

    nodes: list[onnx.NodeProto] = field(default_factory=list)
    constants: list[onnx.TensorProto] = field(default_factory=list)
    random: np.random.Generator = field(default_factory=lambda: np.random.default_rng(0))

    def add(self, operator: str, *inputs: str, **attributes: object) -> str:
        """Append a node; the name of what it makes."""
        name = f"{operator}_{len(self.nodes)}"
        self.nodes.append(helper.make_node(operator, inputs, [name], name=name, **attributes))
        return name

    def constant(self, array: npt.NDArray[np.generic]) -> str:
        """Append a constant."""
        self.constants.append(numpy_helper.from_array(array, f"c{len(self.constants)}"))
        return self.constants[-1].name

    def normal(self, shape: tuple[int, ...], deviation: float) -> str:
        """Append a constant of random values."""
        return self.constant((self.random.standard_normal(shape) * deviation).astype(np.float32))

    def conv(self, x: str, channels: tuple[int, int], size: int = 3, stride: int = 1, gain: float = 2) -> str:
        """Append a convolution that keeps the size, or a part of it by its stride; channels in, out."""
        shape = channels[1], channels[0], size, size
        weight = self.normal(shape, (gain / (channels[0] * size * size)) ** 0.5)
        bias = self.normal((channels[1],), 0.1)
        window = {"kernel_shape": [size] * 2, "strides": [stride] * 2, "pads": [size // 2] * 4}
        return self.add("Conv", x, weight, bias, **window)

    def linear(self, x: str, sizes: tuple[int, int]) -> str:
        """Append a MatMul and its bias."""
        product = self.add("MatMul", x, self.normal(sizes, sizes[0] ** -0.5))
        return self.add("Add", product, self.normal((sizes[1],), 0.1))

    def norm(self, x: str, width: int) -> str:
        """Append a LayerNorm, a few of whose channels are far larger than the others."""
        scale = np.where(self.random.random(width) < OUTLIERS, 10, 1) * self.random.uniform(0.5, 1.5, width)
        shift = self.random.normal(0, 0.1, width)
        both = (self.constant(array.astype(np.float32)) for array in (scale, shift))
        return self.add("LayerNormalization", x, *both, axis=-1, epsilon=1e-6)

    def model(self, side: int, output: str, classes: list[int], opset: int = 17) -> onnx.ModelProto:
        """The network of an image of three channels, with one output."""
        image = helper.make_tensor_value_info("image", TensorProto.FLOAT, [1, 3, side, side])
        found = helper.make_tensor_value_info(output, TensorProto.FLOAT, classes)
        graph = helper.make_graph(self.nodes, "large", [image], [found], self.constants)
        return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)


def vit(width: int, depth: int, heads: int, side: int = 224, patch: int = 16) -> onnx.ModelProto:
    """A pre-norm vision transformer (Dosovitskiy et al., ICLR 2021), as PyTorch writes it at opset 17."""
    graph = Graph()
    count = (side // patch) ** 2
    weight, bias = (
        graph.normal((width, 3, patch, patch), (3 * patch * patch) ** -0.5),
        graph.normal((width,), 0.1),
    )
    patches = graph.add("Conv", "image", weight, bias, kernel_shape=[patch] * 2, strides=[patch] * 2)
    x = graph.add("Reshape", patches, graph.constant(np.array([1, width, count])))
    x = graph.add(
        "Concat", graph.normal((1, 1, width), 0.5), graph.add("Transpose", x, perm=[0, 2, 1]), axis=1
    )
    x = graph.add("Add", x, graph.normal((1, count + 1, width), 0.5))
    for _ in range(depth):
        x = graph.add("Add", x, _attention(graph, graph.norm(x, width), width, heads))
        hidden = _gelu(graph, graph.linear(graph.norm(x, width), (width, 4 * width)))
        x = graph.add("Add", x, graph.linear(hidden, (4 * width, width)))
    first = graph.add("Gather", graph.norm(x, width), graph.constant(np.array(0)), axis=1)
    return graph.model(side, graph.linear(first, (width, 1000)), [1, 1000])


def _attention(graph: Graph, x: str, width: int, heads: int) -> str:
    split = graph.constant(np.array([1, -1, heads, width // heads]))
    query, key, value = (
        graph.add("Transpose", graph.add("Reshape", graph.linear(x, (width, width)), split), perm=order)
        for order in ([0, 2, 1, 3], [0, 2, 3, 1], [0, 2, 1, 3])
    )
    factor = graph.constant(np.array((width // heads) ** -0.5, np.float32))
    scores = graph.add("Softmax", graph.add("Mul", graph.add("MatMul", query, key), factor), axis=-1)
    mixed = graph.add("Transpose", graph.add("MatMul", scores, value), perm=[0, 2, 1, 3])
    return graph.linear(graph.add("Reshape", mixed, graph.constant(np.array([1, -1, width]))), (width, width))


def _gelu(graph: Graph, x: str) -> str:
    root, one, half = (graph.constant(np.array(value, np.float32)) for value in (2**0.5, 1, 0.5))
    grown = graph.add("Add", graph.add("Erf", graph.add("Div", x, root)), one)
    return graph.add("Mul", graph.add("Mul", x, grown), half)


def deep(layers: int, width: int = 32, side: int = 32) -> onnx.ModelProto:
    """So many 3x3 convolutions, two to a residual block, of one width and at one size."""
    graph = Graph()
    x = graph.add("Relu", graph.conv("image", (3, width), stride=2))
    blocks = (layers - 1) // 2
    for _ in range(blocks):
        inner = graph.add("Relu", graph.conv(x, (width, width)))
        beside = graph.conv(inner, (width, width), gain=1 / blocks)
        x = graph.add("Relu", graph.add("Add", x, beside))
    return _classifier(graph, x, width, side)


def wide(side: int) -> onnx.ModelProto:
    """Thirteen convolutions, of 16 channels at full size to 256 at a sixteenth, as detectors begin."""
    graph = Graph()
    x, channels = graph.add("Relu", graph.conv("image", (3, 16))), 16
    for _ in range(4):
        x = graph.add("Relu", graph.conv(x, (channels, 2 * channels), stride=2))
        channels *= 2
        inner = graph.add("Relu", graph.conv(x, (channels, channels), size=1))
        x = graph.add("Relu", graph.add("Add", x, graph.conv(inner, (channels, channels), gain=0.5)))
    return _classifier(graph, x, channels, side)


def _classifier(graph: Graph, x: str, channels: int, side: int) -> onnx.ModelProto:
    mean = graph.add("Flatten", graph.add("GlobalAveragePool", x))
    weight, bias = graph.normal((channels, 100), channels**-0.5), graph.normal((100,), 0.1)
    return graph.model(side, graph.add("Gemm", mean, weight, bias), [1, 100])
