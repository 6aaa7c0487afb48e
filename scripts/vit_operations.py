"""What a transformer is made of: ``Tape`` computes and differentiates it, ``Writer`` writes it as ONNX."""

# ruff: noqa: D102  # operations are called as ONNX calls them

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
from digits_data import SIZE
from onnx import helper, numpy_helper
from scipy.special import erf

PATCH, WIDTH = 8, 48
TOKENS = (SIZE // PATCH) ** 2
EPSILON = 1e-5

Array = npt.NDArray[np.float32]
Weights = dict[str, Array]


class Value:
    """What an operation gave, and how the gradient by it goes on to what it was made of."""

    def __init__(self, data: Array, back: Callable[[Array], None] | None = None) -> None:
        self.data, self.back = data, back
        self.gradient: Array | None = None

    def collect(self, gradient: Array) -> None:
        """Add what one reader says, summed over axes that were repeated."""
        extra = gradient.ndim - self.data.ndim
        gradient = gradient.sum(axis=tuple(range(extra))) if extra else gradient
        repeated = tuple(i for i, size in enumerate(self.data.shape) if size == 1 < gradient.shape[i])
        gradient = gradient.sum(axis=repeated, keepdims=True) if repeated else gradient
        self.gradient = gradient if self.gradient is None else self.gradient + gradient


class Tape:
    """Operations on numpy arrays that can be differentiated."""

    def __init__(self, weights: Weights) -> None:
        self.weights = {name: Value(array) for name, array in weights.items()}
        self._made: list[Value] = []

    def backward(self, last: Value, gradient: Array) -> dict[str, Array]:
        """Gradients by the weights."""
        last.collect(gradient)
        for value in reversed(self._made):
            if value.back is not None and value.gradient is not None:
                value.back(value.gradient)
        return {n: v.gradient for n, v in self.weights.items() if v.gradient is not None}

    def _value(self, data: Array, back: Callable[[Array], None]) -> Value:
        self._made.append(Value(data, back))
        return self._made[-1]

    def weight(self, name: str) -> Value:
        return self.weights[name]

    def add(self, a: Value, b: Value) -> Value:
        def back(gradient: Array) -> None:
            a.collect(gradient)
            b.collect(gradient)

        return self._value(a.data + b.data, back)

    def matmul(self, a: Value, b: Value) -> Value:
        def back(gradient: Array) -> None:
            a.collect(gradient @ b.data.swapaxes(-1, -2))
            if b.data.ndim == 2:
                rows = a.data.reshape(-1, a.data.shape[-1])
                b.collect(rows.T @ gradient.reshape(-1, gradient.shape[-1]))
            else:
                b.collect(a.data.swapaxes(-1, -2) @ gradient)

        return self._value(a.data @ b.data, back)

    def linear(self, x: Value, name: str) -> Value:
        return self.add(self.matmul(x, self.weight(f"{name}.weight")), self.weight(f"{name}.bias"))

    def patches(self, image: Array, name: str) -> Value:
        side = SIZE // PATCH
        parts = image.reshape(-1, side, PATCH, side, PATCH).transpose(0, 1, 3, 2, 4)
        return self.linear(Value(parts.reshape(-1, TOKENS, PATCH * PATCH)), name)

    def norm(self, x: Value, name: str) -> Value:
        centred = x.data - x.data.mean(axis=-1, keepdims=True)
        deviation = np.sqrt((centred**2).mean(axis=-1, keepdims=True) + EPSILON)
        unit = centred / deviation
        factor, shift = self.weight(f"{name}.weight"), self.weight(f"{name}.bias")

        def back(gradient: Array) -> None:
            factor.collect(gradient * unit)
            shift.collect(gradient)
            inner = gradient * factor.data
            inner = inner - inner.mean(axis=-1, keepdims=True)
            along = (inner * unit).mean(axis=-1, keepdims=True)
            x.collect((inner - unit * along) / deviation)

        return self._value(unit * factor.data + shift.data, back)

    def gelu(self, x: Value) -> Value:
        below = (0.5 * (1 + erf(x.data / np.sqrt(2)))).astype(np.float32)
        slope = below + x.data * np.exp(-0.5 * x.data**2) / np.sqrt(2 * np.pi)
        return self._value(x.data * below, lambda gradient: x.collect((gradient * slope).astype(np.float32)))

    def softmax(self, x: Value) -> Value:
        powers = np.exp(x.data - x.data.max(axis=-1, keepdims=True))
        part = powers / powers.sum(axis=-1, keepdims=True)

        def back(gradient: Array) -> None:
            x.collect(part * (gradient - (gradient * part).sum(axis=-1, keepdims=True)))

        return self._value(part, back)

    def scale(self, x: Value, factor: float) -> Value:
        number = np.float32(factor)
        return self._value(x.data * number, lambda gradient: x.collect(gradient * number))

    def reshape(self, x: Value, sizes: Sequence[int]) -> Value:
        wanted = (x.data.shape[0], *sizes[1:])
        return self._value(x.data.reshape(wanted), lambda g: x.collect(g.reshape(x.data.shape)))

    def transpose(self, x: Value, order: Sequence[int]) -> Value:
        inverse = tuple(np.argsort(order))
        return self._value(x.data.transpose(order), lambda gradient: x.collect(gradient.transpose(inverse)))

    def mean(self, x: Value, axis: int) -> Value:
        count = x.data.shape[axis]

        def back(gradient: Array) -> None:
            x.collect(np.repeat(np.expand_dims(gradient, axis), count, axis) / np.float32(count))

        return self._value(x.data.mean(axis=axis), back)


class Writer:
    """The same operations as ONNX nodes, as exporters write them; values are names of tensors."""

    def __init__(self, weights: Weights) -> None:
        self.weights = weights
        self.nodes: list[onnx.NodeProto] = []
        self.constants: dict[str, onnx.TensorProto] = {}

    def _node(self, op: str, *inputs: str, **attributes: Any) -> str:
        output = f"{op.lower()}{len(self.nodes)}"
        self.nodes.append(helper.make_node(op, inputs, [output], output, **attributes))
        return output

    def _constant(self, array: npt.NDArray[Any], name: str) -> str:
        self.constants[name] = numpy_helper.from_array(array, name)
        return name

    def weight(self, name: str) -> str:
        return self._constant(self.weights[name], name)

    def add(self, a: str, b: str) -> str:
        return self._node("Add", a, b)

    def matmul(self, a: str, b: str) -> str:
        return self._node("MatMul", a, b)

    def linear(self, x: str, name: str) -> str:
        return self.add(self.matmul(x, self.weight(f"{name}.weight")), self.weight(f"{name}.bias"))

    def patches(self, image: str, name: str) -> str:
        kernel = self.weights[f"{name}.weight"].T.reshape(WIDTH, 1, PATCH, PATCH)
        inputs = image, self._constant(kernel, f"{name}.weight"), self.weight(f"{name}.bias")
        found = self._node("Conv", *inputs, kernel_shape=[PATCH, PATCH], strides=[PATCH, PATCH])
        return self.transpose(self.reshape(found, (0, WIDTH, TOKENS)), (0, 2, 1))

    def norm(self, x: str, name: str) -> str:
        both = self.weight(f"{name}.weight"), self.weight(f"{name}.bias")
        return self._node("LayerNormalization", x, *both, axis=-1, epsilon=EPSILON)

    def gelu(self, x: str) -> str:
        numbers = {"root": np.sqrt(2), "one": 1.0, "half": 0.5}
        root, one, half = (self._constant(np.array(v, np.float32), n) for n, v in numbers.items())
        gate = self.add(self._node("Erf", self._node("Div", x, root)), one)
        return self._node("Mul", self._node("Mul", x, gate), half)

    def softmax(self, x: str) -> str:
        return self._node("Softmax", x, axis=-1)

    def scale(self, x: str, factor: float) -> str:
        return self._node("Mul", x, self._constant(np.array(factor, np.float32), "scale"))

    def reshape(self, x: str, sizes: Sequence[int]) -> str:
        name = f"sizes_{'_'.join(map(str, sizes))}"
        return self._node("Reshape", x, self._constant(np.array(sizes, np.int64), name))

    def transpose(self, x: str, order: Sequence[int]) -> str:
        return self._node("Transpose", x, perm=list(order))

    def mean(self, x: str, axis: int) -> str:
        return self._node("ReduceMean", x, axes=[axis], keepdims=0)
