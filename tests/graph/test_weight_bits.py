"""Weights for kernels that add up two products in 16 bits, as those of processors without VNNI do."""

from __future__ import annotations

import numpy as np
import onnx
import onnxruntime
import pytest
from networks import Builder, Quantized

import distq
from distq import targets
from distq.replica.saturation import may_saturate, reads_int8, told_of
from distq.targets import find_target


def network():
    b = Builder()
    first = b.node("Relu", b.conv("x", (3, 8)), output="first")
    own = b.node("Relu", b.conv(first, (8, 8), group=8), output="own")
    pooled = b.node("Flatten", b.node("GlobalAveragePool", own))
    b.node("Gemm", pooled, b.random(8, 5), b.random(5), output="y")
    return b.model({"x": [1, 3, 8, 8]}, ["y"])


def stored(model):
    """The integer weights, in the order of the layers."""
    arrays = [onnx.numpy_helper.to_array(t) for t in model.graph.initializer if len(t.dims) > 1]
    return [a.astype(int) for a in arrays if a.dtype == np.int8]


def largest(model):
    return [int(abs(a).max()) for a in stored(model)]


@pytest.mark.parametrize("target", ["ort", "openvino"])
def test_weights_leave_room_but_in_depthwise_layers(load, target):
    paired, seven, eight = (
        onnx.load_model_from_string(Quantized(load(network()), target, weight_bits=bits).exported)
        for bits in ("pairs", "7", "8")
    )
    assert sorted(largest(seven)) == [64, 64, 127]
    assert largest(eight) == [127, 127, 127]
    assert min(largest(paired)) > 64
    assert [may_saturate(m.graph) for m in (paired, seven, eight)] == [False, False, True]
    assert not reads_int8(seven.graph)


def layers_of_all_forms():
    """Weights whose largest are neighbours, in the layouts of all operators, with odd and even channels."""
    b = Builder()

    def weight(*shape):
        ones = np.sign(np.random.default_rng(len(shape)).normal(size=shape[:1]))
        return b.constant(ones.reshape(-1, *[1] * (len(shape) - 1)) * np.ones(shape))

    first = b.node("Relu", b.node("Conv", "x", weight(6, 3, 3, 3), pads=[1] * 4))
    grouped = b.node("Relu", b.node("Conv", first, weight(10, 3, 3, 3), group=2, pads=[1] * 4))
    pointwise = b.node("Relu", b.node("Conv", grouped, weight(8, 10, 1, 1)))
    wider = b.node("Relu", b.node("ConvTranspose", pointwise, weight(8, 4, 2, 2), strides=[2, 2]))
    flat = b.node("Flatten", b.node("GlobalAveragePool", wider))
    left = b.node("Relu", b.node("Gemm", flat, weight(5, 4), b.random(5), transB=1))
    b.node("MatMul", left, b.node("Identity", weight(5, 7)), output="y")
    return b.model({"x": [1, 3, 8, 8]}, ["y"])


@pytest.mark.parametrize("bits", ["pairs", "7"])
def test_onnx_runtime_as_its_user_opens_it_computes_weights_with_room_exactly(load, bits):
    """On a processor without VNNI it does not with 8 bits."""
    for made in (network(), layers_of_all_forms()):
        quantized = Quantized(load(made), weight_bits=bits, samples=8)
        feeds = [*quantized.feeds, {"x": np.full((1, 3, 8, 8), 9, np.float32)}]
        exact = onnxruntime.SessionOptions()
        exact.add_session_config_entry("session.x64quantprecision", "1")
        opened = [
            onnxruntime.InferenceSession(quantized.exported, options, providers=["CPUExecutionProvider"])
            for options in (onnxruntime.SessionOptions(), exact)
        ]
        for sample in feeds:
            found, expected = (session.run(None, sample)[0] for session in opened)
            np.testing.assert_array_equal(found, expected)
        assert not may_saturate(onnx.load_model_from_string(quantized.exported).graph)


@pytest.mark.parametrize(("exact", "room"), [(True, ["all"] * 3), (False, ["pairs", "pairs", "all"])])
def test_the_processor_decides_by_default_where_a_cpu_runs_the_network(monkeypatch, exact, room):
    monkeypatch.setattr(targets, "has_exact_integer_kernels", lambda: exact)
    assert [find_target(name).weight_room for name in ("ort", "openvino", "tensorrt")] == room
    assert find_target("ort", "8").weight_room == "all"


@pytest.mark.parametrize("bits", ["pairs", "7"])
def test_weights_rounded_by_covariance_keep_to_their_room(tmp_path, bits):
    onnx.save(network(), tmp_path / "net.onnx")
    np.savez(tmp_path / "x.npz", x=np.random.default_rng(0).normal(size=(24, 3, 8, 8)).astype(np.float32))
    run = distq.calibrate(
        model=tmp_path / "net.onnx",
        data=tmp_path / "x.npz",
        samples=16,
        weight_bits=bits,
        executor="local",
        out=tmp_path / "run",
    )
    assert not may_saturate(onnx.load(run.out / "model.int8.onnx").graph)


def test_a_network_of_eight_bits_is_told_of_where_it_saturates(load, monkeypatch):
    graph = onnx.load_model_from_string(Quantized(load(network()), weight_bits="8").exported).graph
    for exact in (True, False):
        monkeypatch.setattr("distq.replica.saturation.has_exact_integer_kernels", lambda exact=exact: exact)
        assert bool(told_of(graph)) is not exact
