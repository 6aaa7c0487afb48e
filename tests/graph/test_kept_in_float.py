"""A layer in float stays so in a plain ONNX Runtime, which rounds weights between quantizers by itself."""

import numpy as np
import onnx
import onnxruntime
import pytest
from networks import SETTINGS, Builder, Quantized

from distq.graph.placement import make_plan
from distq.graph.settings import Settings
from distq.replica.session import Session
from distq.targets import TARGETS

NEVER = Settings(float_if_faster=False)


def between(op):
    """A layer of this kind in float between convolutions, with a Relu or a Reshape behind it."""
    b = Builder()
    data = b.node("Relu", b.conv("x", (4, 8)))
    if op == "Gemm":
        flat = b.node("Flatten", data)
        b.node("Gemm", flat, b.random(512, 512, scale=0.04), b.random(512), output="kept", name="kept")
        data = b.node("Reshape", "kept", b.constant(np.array([1, 8, 8, 8])))
    elif op == "ConvTranspose":
        weight = b.random(8, 8, 3, 3, scale=0.1)
        b.node(op, data, weight, b.random(8), pads=[1] * 4, output="kept", name="kept")
        data = "kept"
    else:
        b.conv(data, (8, 8), output="kept", name="kept")
        data = b.node("Relu", "kept")
    b.conv(data, (8, 4), output="y")
    return b.model({"x": [1, 4, 8, 8]}, ["y"])


def optimized(data, folder):
    """Operators of the graph that a session with default options runs, and the session."""
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_EXTENDED
    options.optimized_model_filepath = str(folder / "optimized.onnx")
    session = onnxruntime.InferenceSession(data, options, providers=["CPUExecutionProvider"])
    return [node.op_type for node in onnx.load(options.optimized_model_filepath).graph.node], session


@pytest.mark.parametrize("op", ["Conv", "ConvTranspose", "Gemm"])
def test_its_weights_are_not_rounded(load, tmp_path, op):
    settings = Settings((("kept", "kept in float by --float-layers kept"),))
    quantized = Quantized(load(between(op)), settings=settings)
    kinds, session = optimized(quantized.exported, tmp_path)
    assert sum(kind in {op, "FusedConv", "FusedGemm"} for kind in kinds) == 1
    for feeds in quantized.feeds:
        wanted = Session(quantized.exported, SETTINGS, fused=True).run(feeds)[0]
        np.testing.assert_allclose(session.run(None, feeds)[0], wanted, atol=1e-5)


def grouped(channels, size=28):
    b = Builder()
    data = b.node("Relu", b.conv("x", (8, 64), kernel=1))
    data = b.node("Relu", b.conv(data, (64, 64), group=64 // channels, output="grouped"))
    b.conv(data, (64, 8), kernel=1, output="y")
    return b.model({"x": [1, 8, size, size]}, ["y"])


def in_float(load, proto, settings=None, target="ort"):
    plan = make_plan(load(proto).model, TARGETS[target], "auto", settings=settings or Settings())
    return any("in groups of few channels" in why for _, why in plan.float_nodes)


@pytest.mark.parametrize(("channels", "kept"), [(1, False), (2, True), (4, True), (32, False), (64, False)])
def test_a_convolution_in_groups_of_few_channels_is_faster_in_float(load, channels, kept):
    assert in_float(load, grouped(channels)) == kept


def test_it_is_quantized_where_that_is_asked_for_or_costs_little_or_nobody_has_timed_it(load):
    assert not in_float(load, grouped(4), NEVER)
    assert not in_float(load, grouped(4, size=4))
    assert not in_float(load, grouped(4), target="openvino")
