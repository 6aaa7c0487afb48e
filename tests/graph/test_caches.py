"""A step of a decoder, which is given positions and the keys and values of earlier steps."""

import numpy as np
import onnx
from networks import Builder, Quantized
from test_transformers import linear

from distq.stages.kernels import integer_kernels, kernels_of_layers

WIDTH, HEADS, PAST = 16, 2, 5
PART = WIDTH // HEADS


def rotated(b, heads, cosine, sine):
    """A rotary embedding: halves exchanged, one with its sign turned."""
    limits = [b.constant([n]) for n in (0, PART // 2, PART)]
    axis = b.constant([3])
    first = b.node("Slice", heads, limits[0], limits[1], axis)
    second = b.node("Slice", heads, limits[1], limits[2], axis)
    other = b.node("Concat", b.node("Neg", second), first, axis=3)
    return b.node("Add", b.node("Mul", heads, cosine), b.node("Mul", other, sine))


def step():
    """Attention of a few tokens to those before them, as exporters of language models write it."""
    b = Builder(1)
    split = b.constant([0, -1, HEADS, PART])
    angles = b.node("Mul", "positions", b.random(1, PART))
    turns = [b.node("Unsqueeze", b.node(op, angles), b.constant([1])) for op in ("Cos", "Sin")]
    heads = [
        b.node("Transpose", b.node("Reshape", linear(b, "x", WIDTH, WIDTH), split), perm=[0, 2, 1, 3])
        for _ in range(3)
    ]
    query, key = (rotated(b, value, *turns) for value in heads[:2])
    keys = b.node("Concat", "past_keys", key, axis=2, output="keys")
    values = b.node("Concat", "past_values", heads[2], axis=2, output="values")
    scores = b.node("MatMul", query, b.node("Transpose", keys, perm=[0, 1, 3, 2]))
    mixed = b.node("MatMul", b.node("Softmax", scores, axis=-1), values)
    rows = b.node("Reshape", b.node("Transpose", mixed, perm=[0, 2, 1, 3]), b.constant([0, -1, WIDTH]))
    linear(b, rows, WIDTH, 4, output="y")
    cache = ["batch", HEADS, PAST, PART]
    inputs = {
        "x": ["batch", 3, WIDTH],
        "positions": ["batch", 3, 1],
        "past_keys": cache,
        "past_values": cache,
    }
    return b.model(inputs, ["y", "keys", "values"], opset=18)


def test_what_is_kept_for_later_steps_is_not_rounded(load):
    quantized = Quantized(load(step()))
    graph = onnx.load_model_from_string(quantized.exported).graph
    writers = {name: node.op_type for node in graph.node for name in node.output}
    assert [writers[name] for name in ("keys", "values")] == ["Concat", "Concat"]
    assert not {"past_keys", "past_values"} & quantized.plan.by_tensor.keys()


def test_a_rotary_embedding_of_given_positions_is_computed_in_float(load):
    quantized = Quantized(load(step()))
    kernels = set(integer_kernels(quantized.exported).values())
    assert not kernels & {"QLinearMul", "QLinearAdd", "QLinearConcat"}


def test_its_products_run_on_integers(load):
    quantized = Quantized(load(step()))
    found = kernels_of_layers(quantized.loaded.model, quantized.plan, quantized.exported)
    assert (found.layers, found.of) == (6, 6)
    assert quantized.sqnr() > 30


def test_pictures_joined_in_front_of_a_convolution_stay_integers(load):
    b = Builder(1)
    first = b.node("Relu", b.conv("x", (4, 4)))
    b.conv(b.node("Concat", first, "z", axis=1, output="both"), (8, 4), output="y")
    quantized = Quantized(load(b.model({"x": [1, 4, 8, 8], "z": [1, 4, 8, 8]}, ["y"])))
    assert "both" in quantized.plan.by_tensor
    assert "QLinearConcat" in integer_kernels(quantized.exported).values()
    assert np.isfinite(quantized.sqnr())
