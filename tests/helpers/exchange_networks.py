"""A small network that has what names differ for: folded BatchNormalization, Relu, Add, Concat, Gemm."""

from __future__ import annotations

import numpy as np
from networks import Builder, write

from distq.exchange.network import describe
from distq.exchange.table import ExchangeTable, of_quantizer, with_range


def small():
    """x -> conv1 -> bn1 -> relu1 -> conv2 -> add -> relu2 -> pool -> flatten -> fc."""
    b = Builder()
    b.node("Conv", "x", b.constant(np.full((4, 3, 3, 3), 0.5, np.float32), "conv1.weight"),
           output="c1", name="conv1", pads=[1, 1, 1, 1])  # fmt: skip
    parts = [b.constant(np.full(4, v, np.float32), n) for n, v in
             (("bn.scale", 2.0), ("bn.bias", 0.25), ("bn.mean", 0.0), ("bn.var", 1.0))]  # fmt: skip
    b.node("BatchNormalization", "c1", *parts, output="n1", name="bn1", epsilon=1e-12)
    b.node("Relu", "n1", output="r1", name="relu1")
    weight = np.arange(1, 17, dtype=np.float32).reshape(4, 4, 1, 1) / 16
    bias = b.constant(np.ones(4, np.float32), "conv2.bias")
    b.node("Conv", "r1", b.constant(weight, "conv2.weight"), bias, output="c2", name="conv2")
    b.node("Add", "c2", "r1", output="s", name="add")
    b.node("Relu", "s", output="r2", name="relu2")
    b.node("GlobalAveragePool", "r2", output="p", name="pool")
    b.node("Flatten", "p", output="f", name="flatten")
    weight = b.constant(np.array([[1.27, 0.0, 0.0, 0.1], [0.0, -2.54, 0.0, 0.1]], np.float32), "fc.weight")
    b.node(
        "Gemm", "f", weight, b.constant(np.zeros(2, np.float32), "fc.bias"), output="y", name="fc", transB=1
    )
    return b.model({"x": [1, 3, 8, 8]}, ["y"])


def unnamed():
    """Nodes without names: x -> Conv -> BatchNormalization -> Relu -> Sigmoid -> Exp, and a Shape."""
    b = Builder()
    b.node("Conv", "x", b.constant(np.full((4, 3, 1, 1), 0.5, np.float32), "w"), output="1")
    parts = [b.constant(np.full(4, v, np.float32), f"bn{v}") for v in (2.0, 0.25, 0.0, 1.0)]
    b.node("BatchNormalization", "1", *parts, output="2", epsilon=1e-12)
    b.node("Relu", "2", output="3")
    b.node("Sigmoid", "3", output="4")
    b.node("Exp", "4", output="5")
    b.node("Shape", "3", output="6")
    b.node("Reshape", "5", "6", output="7")
    return b.model({"x": [1, 3, 8, 8]}, ["7"])


def small_file(folder):
    return write(folder, small())


def small_network(folder):
    return describe(small_file(folder))


TABLE = ExchangeTable(
    {
        "x": of_quantizer(2 / 255, 85),  # from -2/3 to 4/3
        "r1": of_quantizer(6 / 255, 0),
        "c2": with_range(2.54, -1.0, 2.54),
        "r2": of_quantizer(12.7 / 255, 0),
        "p": of_quantizer(12.7 / 255, 0),
        "f": of_quantizer(12.7 / 255, 0),
        "y": with_range(25.4, -25.4, 8.0),
    }
)
"""Of every tensor of the network that :func:`small_file` writes which has a quantizer."""
