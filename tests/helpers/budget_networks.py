"""Networks in which one tensor or one layer is worse than all others, by far."""

from __future__ import annotations

import onnx
from job_helpers import Graph


def one_wide_tensor() -> onnx.ModelProto:
    """Four Convs; one channel of ``wide`` is a thousand times as large as the others, and hardly read."""
    graph = Graph(3)
    graph.add("LeakyRelu", [graph.conv("x", (3, 6), "a")], "narrow", alpha=0.1)
    loud = graph.conv("narrow", (6, 6), "b", gain=(1000, 1, 1, 1, 1, 1))
    graph.add("Relu", [loud], "wide")
    quiet = graph.conv("wide", (6, 6), "c", group=6, gain=(0.001, 1, 1, 1, 1, 1))
    graph.add("LeakyRelu", [quiet], "behind", alpha=0.1)
    graph.conv("behind", (6, 4), "y")
    return graph.model({"y": (1, 4, 8, 8)})


def one_bad_layer() -> onnx.ModelProto:
    """Three Convs; weights of ``bad`` that are large multiply zero, and the others round off beside them."""
    graph = Graph(4)
    graph.add("Relu", [graph.conv("x", (3, 4), "a", bias=0.0)], "first")
    graph.add("Mul", ["first", graph.constant([[[[0.0]], [[1.0]], [[1.0]], [[1.0]]]])], "silenced")
    weight = graph.rng.standard_normal((4, 4, 3, 3)) * 0.1
    weight[:, 0] = 40
    graph.add("Conv", ["silenced", graph.constant(weight)], "bad", pads=[1] * 4)
    graph.conv("bad", (4, 4), "y")
    return graph.model({"y": (1, 4, 8, 8)})


def searched_behind_depthwise() -> onnx.ModelProto:
    """Depthwise blocks, then ``loud``: one channel is large and hardly read, and a Mul forbids factors."""
    graph = Graph(1)
    loud = graph.conv(graph.depthwise_blocks(4), (8, 8), "loud_sums", gain=(5, 1, 1, 1, 1, 1, 1, 1))
    graph.add("Relu", [loud], "loud")
    weight = graph.rng.standard_normal((6, 8, 1, 1)) * 0.3
    weight[:, 0] *= 0.01
    graph.add("Conv", ["loud", graph.constant(weight)], "read")
    graph.add("Mul", ["loud", graph.constant(0.0)], "silenced")
    graph.add("ReduceMean", ["silenced"], "zero", axes=[1], keepdims=1)
    graph.add("Add", ["read", "zero"], "y")
    return graph.model({"y": (1, 6, 8, 8)})
