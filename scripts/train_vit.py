"""Train the small vision transformer of ``distq/assets`` and write it as ONNX.

    python -m venv V && V/bin/pip install scikit-learn opencv-python-headless onnx onnxruntime
    OPENBLAS_NUM_THREADS=1 V/bin/python scripts/train_vit.py

On the same 1200 digits as the demo's network (``train_digits.py``), with the same preprocessing, for a fixed
number of epochs. It needs no framework: :class:`Tape` computes and differentiates what :class:`Writer` writes
as ONNX. Every seed is fixed and one thread is used, so one kind of CPU gives the same file again.

The network is a pre-norm encoder (Dosovitskiy et al., "An Image is Worth 16x16 Words", ICLR 2021): 16 patches
of 8x8, width 48, three blocks of three heads, the mean over patches, 10 logits.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
import onnxruntime
from digits_data import CALIBRATION, HELD_OUT, SEED, SIZE, TRAINING, digits, enlarge, jitter, normalized
from onnx import TensorProto, helper
from vit_operations import PATCH, TOKENS, WIDTH, Array, Tape, Weights, Writer

HEADS, BLOCKS, HIDDEN = 3, 3, 144
EPOCHS, BATCH, RATE, DECAY = 50, 32, 3e-3, 0.02
OPSET = 17
FILE = Path(__file__).parents[1] / "distq" / "assets" / "vit.onnx"


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
