"""Train the small vision transformer of ``distq/assets`` and write it as ONNX.

    python -m venv V && V/bin/pip install scikit-learn opencv-python-headless onnx onnxruntime
    OPENBLAS_NUM_THREADS=1 V/bin/python scripts/train_vit.py

On the same 1200 digits as the demo's network (``train_digits.py``), with the same preprocessing, for a fixed
number of epochs. It needs no framework: :class:`Tape` computes and differentiates what :class:`Writer` writes
as ONNX. Every seed is fixed and one thread is used, so one kind of CPU gives the same file again.

The network is a pre-norm encoder (Dosovitskiy et al., "An Image is Worth 16x16 Words", ICLR 2021): 16 patches
of 8x8, width 48, three blocks of three heads, the mean over patches, 10 logits.
"""

# ruff: noqa: D102  # operations are called as ONNX calls them

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
import onnxruntime
from digits_data import CALIBRATION, HELD_OUT, SEED, SIZE, TRAINING, digits, enlarge, jitter, normalized
from onnx import TensorProto, helper, numpy_helper
from scipy.special import erf

PATCH, WIDTH, HEADS, BLOCKS, HIDDEN = 8, 48, 3, 3, 144
TOKENS = (SIZE // PATCH) ** 2
EPOCHS, BATCH, RATE, DECAY = 50, 32, 3e-3, 0.02
EPSILON = 1e-5
OPSET = 17
FILE = Path(__file__).parents[1] / "distq" / "assets" / "vit.onnx"

Array = npt.NDArray[np.float32]
Weights = dict[str, Array]


def vit(ops: Any, image: Any) -> Any:
    """Logits of images, by the operations given."""
    x = ops.add(ops.patches(image, "patches"), ops.weight("positions"))
    for block in range(BLOCKS):
        name = f"block{block}"
        x = ops.add(x, attention(ops, ops.norm(x, f"{name}.norm1"), name))
        hidden = ops.gelu(ops.linear(ops.norm(x, f"{name}.norm2"), f"{name}.up"))
        x = ops.add(x, ops.linear(hidden, f"{name}.down"))
    return ops.linear(ops.mean(ops.norm(x, "norm"), 1), "head")


def attention(ops: Any, x: Any, name: str) -> Any:
    """Self-attention: queries, keys and values by one layer each."""
    parts = (0, TOKENS, HEADS, WIDTH // HEADS)
    query, key, value = (
        ops.transpose(ops.reshape(ops.linear(x, f"{name}.{part}"), parts), order)
        for part, order in (("query", (0, 2, 1, 3)), ("key", (0, 2, 3, 1)), ("value", (0, 2, 1, 3)))
    )
    scores = ops.softmax(ops.scale(ops.matmul(query, key), (WIDTH // HEADS) ** -0.5))
    mixed = ops.transpose(ops.matmul(scores, value), (0, 2, 1, 3))
    return ops.linear(ops.reshape(mixed, (0, TOKENS, WIDTH)), f"{name}.out")


def initial(random: np.random.Generator) -> Weights:
    """Random weights, normalizations that do nothing, biases of 0."""
    found: Weights = {"positions": _normal(random, (TOKENS, WIDTH), 0.02)}
    linear = {"patches": (PATCH * PATCH, WIDTH), "head": (WIDTH, 10)}
    norms = ["norm"]
    for block in range(BLOCKS):
        name = f"block{block}"
        linear |= {f"{name}.{part}": (WIDTH, WIDTH) for part in ("query", "key", "value", "out")}
        linear |= {f"{name}.up": (WIDTH, HIDDEN), f"{name}.down": (HIDDEN, WIDTH)}
        norms += [f"{name}.norm1", f"{name}.norm2"]
    for name, sizes in linear.items():
        found[f"{name}.weight"] = _normal(random, sizes, sizes[0] ** -0.5)
        found[f"{name}.bias"] = np.zeros(sizes[1], np.float32)
    for name in norms:
        found[f"{name}.weight"], found[f"{name}.bias"] = (
            np.ones(WIDTH, np.float32),
            np.zeros(WIDTH, np.float32),
        )
    return found


def _normal(random: np.random.Generator, shape: Sequence[int], deviation: float) -> Array:
    return (random.standard_normal(shape) * deviation).astype(np.float32)


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


def train(images: npt.NDArray[np.uint8], labels: npt.NDArray[np.int64]) -> Weights:
    """Train by AdamW (Loshchilov and Hutter, ICLR 2019).

    The rate rises for a tenth of the steps, then falls.
    """
    random = np.random.default_rng(SEED)
    weights = initial(random)
    first, second = ({name: np.zeros_like(array) for name, array in weights.items()} for _ in range(2))
    batches = -(-len(images) // BATCH)
    step, steps = 0, EPOCHS * batches
    for epoch in range(EPOCHS):
        total = 0.0
        for chosen in np.array_split(random.permutation(len(images)), batches):
            step += 1
            rate = RATE * min(step / (0.1 * steps), 0.5 * (1 + np.cos(np.pi * step / steps)))
            loss, gradients = differentiate(weights, images, labels, chosen, random)
            for name, gradient in gradients.items():
                first[name] += 0.1 * (gradient - first[name])
                second[name] += 0.01 * (gradient**2 - second[name])
                moved = first[name] / (1 - 0.9**step) / (np.sqrt(second[name] / (1 - 0.99**step)) + 1e-8)
                decay = DECAY * weights[name] if weights[name].ndim == 2 else 0
                weights[name] = (weights[name] - rate * (moved + decay)).astype(np.float32)
            total += loss * len(chosen)
        if epoch % 10 == 9:
            print(f"epoch {epoch + 1}: loss {total / len(images):.4f}", flush=True)
    return weights


def differentiate(
    weights: Weights,
    images: npt.NDArray[np.uint8],
    labels: npt.NDArray[np.int64],
    chosen: npt.NDArray[np.int64],
    random: np.random.Generator,
) -> tuple[float, Weights]:
    """Cross-entropy of a batch, and its gradients."""
    tape = Tape(weights)
    logits = vit(tape, normalized(np.stack([jitter(images[i], random) for i in chosen])))
    powers = np.exp(logits.data - logits.data.max(axis=1, keepdims=True))
    part = powers / powers.sum(axis=1, keepdims=True)
    wanted = np.eye(10, dtype=np.float32)[labels[chosen]]
    loss = -float(np.log((part * wanted).sum(axis=1)).mean())
    return loss, tape.backward(logits, (part - wanted) / np.float32(len(chosen)))


def export(weights: Weights) -> onnx.ModelProto:
    """The network as ONNX, its batch symbolic."""
    writer = Writer(weights)
    vit(writer, "image")
    writer.nodes[-1].output[0] = "logits"
    graph = helper.make_graph(
        writer.nodes,
        "vit",
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, ["batch", 1, SIZE, SIZE])],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["batch", 10])],
        list(writer.constants.values()),
    )
    opset = helper.make_opsetid("", OPSET)
    model = helper.make_model(graph, producer_name="distq scripts/train_vit.py", opset_imports=[opset])
    model.ir_version = 8
    onnx.checker.check_model(model, full_check=True)
    return model


def main() -> None:
    images, labels = digits()
    large = np.stack([enlarge(image) for image in images])
    weights = train(large[:TRAINING], labels[:TRAINING])
    model = export(weights)
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    end = TRAINING + CALIBRATION + HELD_OUT
    parts = {"training": slice(0, TRAINING), "held-out": slice(TRAINING + CALIBRATION, end)}
    for name, part in parts.items():
        right = session.run(None, {"image": normalized(large[part])})[0].argmax(axis=1) == labels[part]
        print(f"top-1 on {name} digits: {right.mean():.2%} ({right.sum()} of {len(right)})")
    own = vit(Tape(weights), normalized(large[:8])).data
    np.testing.assert_allclose(own, session.run(None, {"image": normalized(large[:8])})[0], atol=1e-3)
    onnx.save(model, str(FILE))
    print(f"{FILE}: {FILE.stat().st_size:,} bytes")


if __name__ == "__main__":
    main()
