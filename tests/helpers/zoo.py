"""One small network for each operator that models are quantized with, and one of many branches."""

from __future__ import annotations

import numpy as np
from networks import Builder

IMAGE = [1, 4, 8, 8]


def between(op, *constants, opset=13, **attributes):
    """Conv - op - Conv."""
    b = Builder(1)
    extra = [c(b) for c in constants]
    b.conv(b.node(op, b.conv("x", (4, 4), output="a"), *extra, output="h", **attributes), (4, 3), output="y")
    return b.model({"x": IMAGE}, ["y"], opset)


def number(value):
    return lambda b: b.constant(np.float32(value))


def relu(b, t, output=None):
    return b.node("Relu", t, output=output)


def silu(b, t, output=None):
    return b.node("Mul", t, b.node("Sigmoid", t, output=f"{t}_gate"), output=output)


def of_two(op):
    """Two convolutions joined, and a Relu behind them."""
    b = Builder(1)
    joined = b.node(op, b.conv("x", (4, 4)), b.conv("x", (4, 4)), output="h")
    b.conv(relu(b, joined, "r"), (4, 3), output="y")
    return b.model({"x": IMAGE}, ["y"])


def concat(first, second):
    b = Builder(1)
    parts = [f(b, b.conv("x", (4, 4), output=name)) for f, name in ((first, "a"), (second, "b"))]
    b.conv(b.node("Concat", *parts, output="h", axis=1), (8, 3), output="y")
    return b.model({"x": IMAGE}, ["y"])


def resize(mode):
    def sizes(b):
        return b.constant(np.array([1, 1, 2, 2], np.float32))

    return between("Resize", lambda _: "", sizes, mode=mode)


def gemm(transposed):
    b = Builder(1)
    hidden = relu(b, b.node("Gemm", "x", b.random(8, 6), b.random(6), output="g"), "r")
    weight = b.random(5, 6) if transposed else b.random(6, 5)
    b.node("Gemm", hidden, weight, output="y", transB=int(transposed))
    return b.model({"x": [1, 8]}, ["y"])


def matmul(shape):
    b = Builder(1)
    hidden = relu(b, b.node("MatMul", "x", b.random(8, 6), output="g"), "r")
    b.node("MatMul", hidden, b.random(6, 5), output="y")
    return b.model({"x": shape}, ["y"])


def attention():
    b = Builder(1)
    left, right = (b.node("MatMul", "x", b.random(8, 6)) for _ in range(2))
    b.node("MatMul", left, b.node("Transpose", right, perm=[0, 2, 1]), output="y")
    return b.model({"x": [1, 3, 8]}, ["y"])


def conv_transpose():
    b = Builder(1)
    a = relu(b, b.conv("x", (4, 4), output="a"))
    t = b.node("ConvTranspose", a, b.random(4, 5, 2, 2), b.random(5), output="t", strides=[2, 2])
    b.conv(relu(b, t, "r"), (5, 3), output="y")
    return b.model({"x": IMAGE}, ["y"])


def gated():
    b = Builder(1)
    b.conv(silu(b, b.conv("x", (4, 4), output="a"), "h"), (4, 3), output="y")
    return b.model({"x": IMAGE}, ["y"])


def clipped():
    """A Clip(0, 6) whose input goes far beyond 6."""
    b = Builder(1)
    wide = b.node("Conv", "x", b.random(4, 4, 3, 3, scale=2), output="a", pads=[1] * 4)
    b.conv(b.node("Clip", wide, number(0)(b), number(6)(b), output="h"), (4, 3), output="y")
    return b.model({"x": IMAGE}, ["y"])


def two_inputs():
    b = Builder(1)
    joined = b.node("Add", b.conv("left", (4, 4)), b.conv("right", (2, 4)), output="h")
    b.conv(joined, (4, 3), output="y")
    return b.model({"left": IMAGE, "right": [1, 2, 8, 8]}, ["y"])


def heads():
    """Several outputs: of a layer that others read, of a layer, behind an activation, of a branch."""
    b = Builder(1)
    a = relu(b, b.conv("x", (4, 4)), "a")
    b.node("Sigmoid", b.conv(a, (4, 4), output="c"), output="s")
    b.conv(a, (4, 2), output="d")
    return b.model({"x": IMAGE}, ["a", "c", "s", "d"])


def classifier(tail="Softmax", batch="N"):
    b = Builder(1)
    flat = b.node("Flatten", relu(b, b.conv("x", (4, 4)), "a"), axis=1)
    logits = b.node("Gemm", flat, b.random(256, 5, scale=0.1), b.random(5), output="g")
    b.node(tail, logits, output="y", **({"axis": 1} if tail == "Softmax" else {}))
    return b.model({"x": [batch, *IMAGE[1:]]}, ["y"])


def reshaped():
    """A symbolic batch whose size is computed on the way to the last layer."""
    b = Builder(1)
    a = relu(b, b.conv("x", (4, 4)), "a")
    batch = b.node("Gather", b.node("Shape", a), b.constant(np.array([0])))
    flat = b.node("Reshape", a, b.node("Concat", batch, b.constant([-1]), axis=0), output="f")
    b.node("Gemm", flat, b.random(256, 5, scale=0.1), b.random(5), output="y")
    return b.model({"x": ["N", *IMAGE[1:]]}, ["y"])


def branched():
    """Residual, squeeze and excitation, pyramid pooling, upsampling, and two heads."""
    b = Builder(1)
    stem = relu(b, b.conv("x", (4, 8), bias=False), "stem")
    inner = relu(b, b.conv(stem, (8, 8), group=8, kernel=3), "inner")
    residual = relu(b, b.node("Add", stem, b.conv(inner, (8, 8), kernel=1), output="sum"), "residual")
    low = b.node("MaxPool", residual, output="low", kernel_shape=[2, 2], strides=[2, 2])
    gate = b.node("Sigmoid", b.conv(b.node("GlobalAveragePool", low), (8, 8), kernel=1), output="gate")
    excited = b.node("Mul", low, gate, output="excited")
    swish = silu(b, b.conv(excited, (8, 8)), "swish")
    pooled = b.node("MaxPool", swish, output="pooled", kernel_shape=[3, 3], pads=[1] * 4)
    both = b.node("Concat", swish, pooled, output="both", axis=1)
    sizes = b.constant(np.array([1, 1, 2, 2], np.float32))
    up = b.node("Resize", b.conv(both, (16, 8), kernel=1), "", sizes, output="up", mode="nearest")
    joined = b.node("Concat", up, residual, output="joined", axis=1)
    b.conv(joined, (16, 3), output="boxes")
    mean = b.node("Flatten", b.node("AveragePool", excited, kernel_shape=[4, 4]), output="mean")
    b.node("Softmax", b.node("Gemm", mean, b.random(5, 8), b.random(5), transB=1), output="scores", axis=1)
    return b.model({"x": IMAGE}, ["boxes", "scores"])


def detector():
    """Boxes of two maps, objectness and classes behind a Sigmoid, all in one output (1, 80, 7)."""
    b = Builder(1)
    fine = relu(b, b.conv("x", (4, 4)), "fine")
    coarse = b.node("MaxPool", relu(b, b.conv(fine, (4, 4)), "r"), kernel_shape=[2, 2], strides=[2, 2])
    rows = []
    for name, source, places in (("fine", fine, 64), ("coarse", coarse, 16)):
        boxes, seen, classes = (
            b.conv(source, (4, channels), kernel=1, output=f"{name}_{kind}")
            for kind, channels in (("boxes", 4), ("seen", 1), ("classes", 2))
        )
        behind = [b.node("Sigmoid", t, output=f"{t}_behind") for t in (seen, classes)]
        joined = b.node("Concat", boxes, *behind, axis=1)
        rows.append(b.node("Reshape", joined, b.constant(np.array([1, 7, places]))))
    b.node("Transpose", b.node("Concat", *rows, axis=2), perm=[0, 2, 1], output="y")
    return b.model({"x": IMAGE}, ["y"])


NETWORKS = {
    "Relu": lambda: between("Relu"),
    "Clip(0, 6)": clipped,
    "Clip(-1, 1)": lambda: between("Clip", number(-1), number(1)),
    "LeakyRelu": lambda: between("LeakyRelu", alpha=0.1),
    "PRelu": lambda: between("PRelu", lambda b: b.positive(4, 1, 1)),
    "Sigmoid": lambda: between("Sigmoid"),
    "HardSwish": lambda: between("HardSwish", opset=14),
    "SiLU": gated,
    "Exp": lambda: between("Exp"),
    "Softmax": lambda: between("Softmax", axis=1),
    "MaxPool": lambda: between("MaxPool", kernel_shape=[2, 2], strides=[2, 2]),
    "AveragePool": lambda: between("AveragePool", kernel_shape=[3, 3], pads=[1] * 4),
    "GlobalAveragePool": lambda: between("GlobalAveragePool"),
    "Resize, nearest": lambda: resize("nearest"),
    "Resize, linear": lambda: resize("linear"),
    "Resize, cubic": lambda: resize("cubic"),
    "Add": lambda: of_two("Add"),
    "Mul": lambda: of_two("Mul"),
    "Concat of alike": lambda: concat(relu, relu),
    "Concat of unlike": lambda: concat(relu, lambda _, t: t),
    "ConvTranspose": conv_transpose,
    "Gemm": lambda: gemm(transposed=False),
    "Gemm, transposed": lambda: gemm(transposed=True),
    "MatMul of a matrix": lambda: matmul([1, 8]),
    "MatMul of a stack": lambda: matmul([1, 3, 8]),
    "MatMul of two tensors": attention,
    "two inputs": two_inputs,
    "four outputs": heads,
    "Softmax behind": classifier,
    "Exp behind": lambda: classifier("Exp"),
    "symbolic batch": reshaped,
    "detector": detector,
    "many branches": branched,
}
