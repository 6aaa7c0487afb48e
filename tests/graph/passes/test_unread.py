import numpy as np
import onnx
import pytest
from networks import Builder, Quantized, assert_computes_the_same
from onnx import numpy_helper

IMAGE = [1, 3, 8, 8]
HUGE = 1e6


def pruned(between, *, outputs=("y",), layer="Conv"):
    """Two layers; the second reads nothing of channel 2, which holds a million."""
    b = Builder(3)
    bias = b.rng.normal(size=8).astype(np.float32)
    bias[2] = HUGE
    second = b.rng.normal(size=(4, 8) if layer == "Gemm" else (4, 8, 1, 1)).astype(np.float32)
    second[:, 2] = 0
    if layer == "Gemm":
        t = b.node("Gemm", "x", b.random(3, 8), b.constant(bias), output="t")
        b.node("Gemm", between(b, t), b.constant(second), output="y", transB=1)
        return b.model({"x": [1, 3]}, list(outputs))
    t = b.node("Conv", "x", b.random(8, 3, 3, 3, scale=0.2), b.constant(bias), output="t", pads=[1] * 4)
    b.node("Conv", between(b, t), b.constant(second), output="y")
    return b.model({"x": IMAGE}, list(outputs))


def shortcut(b, t):
    return b.node("Add", t, b.conv(b.node("Relu", "x"), (3, 8)))


BETWEEN = {
    "nothing": lambda _, t: t,
    "an activation": lambda b, t: b.node("LeakyRelu", t),
    "a pool": lambda b, t: b.node("MaxPool", t, kernel_shape=[2, 2]),
    "a sum": shortcut,
    "a depthwise convolution": lambda b, t: b.node("Conv", b.node("Relu", t), b.random(8, 1, 3, 3), group=8),
}


def largest_bias(loaded):
    graph = onnx.load_model_from_string(loaded.serialized()).graph
    return max(np.abs(numpy_helper.to_array(t)).max() for t in graph.initializer)


@pytest.mark.parametrize(
    ("layer", "between"),
    [*(("Conv", between) for between in BETWEEN), ("Gemm", "nothing"), ("Gemm", "an activation")],
)
def test_a_channel_that_nobody_reads_takes_no_part_of_a_range(load, layer, between):
    proto = pruned(BETWEEN[between], layer=layer)
    loaded = load(proto)
    assert largest_bias(loaded) < HUGE
    assert_computes_the_same(loaded, proto)
    assert Quantized(loaded).sqnr() > 20


def pruned_rows(between=lambda _, t: t, *, shape=(1, 5, 3)):
    """The same of MatMuls with an Add behind."""
    b = Builder(3)
    bias = b.rng.normal(size=8).astype(np.float32)
    bias[2] = HUGE
    second = b.rng.normal(size=(8, 4)).astype(np.float32)
    second[2] = 0
    t = b.node("Add", b.node("MatMul", "x", b.random(3, 8)), b.constant(bias), output="t")
    b.node("MatMul", between(b, t), b.constant(second), output="y")
    return b.model({"x": list(shape)}, ["y"])


@pytest.mark.parametrize(
    "proto",
    [
        pruned_rows(),
        pruned_rows(lambda b, t: b.node("Relu", t)),
        pruned_rows(lambda b, t: b.node("Mul", t, b.node("Sigmoid", t))),
        pruned_rows(lambda b, t: b.node("Reshape", t, b.constant([5, 8]))),
    ],
)
def test_so_it_is_between_layers_of_rows(load, proto):
    loaded = load(proto)
    assert largest_bias(loaded) < HUGE
    assert_computes_the_same(loaded, proto)


@pytest.mark.parametrize("shape", [[1, 3, 8, 8], ["N", 3, 8, 8]])
@pytest.mark.parametrize("flat", ["Flatten", "Reshape"])
def test_a_channel_may_be_flattened_before_it_is_not_read(load, shape, flat):
    b = Builder(3)
    bias, second = b.rng.normal(size=8).astype(np.float32), b.rng.normal(size=(8, 16, 4)).astype(np.float32)
    bias[2], second[2] = HUGE, 0
    t = b.node("Conv", "x", b.random(8, 3, 1, 1), b.constant(bias), strides=[2, 2])
    t = b.node("Relu", t)
    rows = b.node(flat, t, *([b.constant([-1, 128])] if flat == "Reshape" else []))
    b.node("Gemm", rows, b.constant(second.reshape(128, 4)), output="y")
    proto = b.model({"x": shape}, ["y"])
    loaded = load(proto)
    assert largest_bias(loaded) < HUGE
    assert_computes_the_same(loaded, proto)


@pytest.mark.parametrize(
    "between",
    [
        lambda b, t: b.node("Softmax", t, axis=-1),
        lambda b, t: b.node("Transpose", b.node("Reshape", t, b.constant([1, 8, 5])), perm=[0, 2, 1]),
        lambda b, t: b.node("Add", t, b.node("Transpose", t, perm=[0, 2, 1])),
    ],
)
def test_channels_of_rows_that_are_mixed_stay(load, between):
    proto = pruned_rows(between, shape=(1, 8, 3))
    if "Reshape" in {node.op_type for node in proto.graph.node}:
        proto = pruned_rows(between)
    assert largest_bias(load(proto)) == HUGE


@pytest.mark.parametrize(
    "between",
    [
        lambda b, t: b.node("Softmax", t, axis=1),
        lambda b, t: b.node("LRN", t, size=3),
        lambda b, t: b.node("Conv", t, b.random(8, 2, 3, 3), group=4),
        lambda b, t: b.node("Mul", t, b.node("ReduceMean", t, axes=[1, 2, 3])),
    ],
)
def test_a_channel_that_others_are_computed_from_stays(load, between):
    proto = pruned(between)
    assert largest_bias(load(proto)) == HUGE


def test_so_does_one_that_is_an_output_of_the_network(load):
    proto = pruned(BETWEEN["an activation"], outputs=("y", "t"))
    assert largest_bias(load(proto)) == HUGE
