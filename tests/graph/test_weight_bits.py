"""Weights for kernels that add up two products in 16 bits, as those of processors without VNNI do."""

from __future__ import annotations

import numpy as np
import onnx
import onnxruntime
import pytest
from networks import Builder, Quantized, run_literally

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


def largest(model):
    """The largest integers of the weights, in the order of the layers."""
    arrays = [onnx.numpy_helper.to_array(t) for t in model.graph.initializer if len(t.dims) > 1]
    return [int(abs(a.astype(int)).max()) for a in arrays if a.dtype == np.int8]


@pytest.mark.parametrize("target", ["ort", "openvino"])
def test_weights_of_seven_bits_leave_room_but_in_depthwise_layers(load, target):
    seven, eight = (Quantized(load(network()), target, weight_bits=bits) for bits in ("7", "8"))
    narrow, wide = (onnx.load_model_from_string(q.exported) for q in (seven, eight))
    assert sorted(largest(narrow)) == [64, 64, 127]
    assert largest(wide) == [127, 127, 127]
    assert (may_saturate(narrow.graph), may_saturate(wide.graph)) == (False, True)
    assert not reads_int8(narrow.graph)


def test_onnx_runtime_as_its_user_opens_it_computes_seven_bits_exactly(load):
    """On a processor without VNNI it does not with 8 bits."""
    quantized = Quantized(load(network()), weight_bits="7", samples=8)
    session = onnxruntime.InferenceSession(quantized.exported, providers=["CPUExecutionProvider"])
    model = onnx.load_model_from_string(quantized.exported)
    step = max(quantized.table[q.name].scale for q in quantized.plan.in_table)
    for feeds in quantized.feeds:
        (found,) = session.run(None, feeds)
        np.testing.assert_allclose(found, run_literally(model, feeds)["y"], atol=2 * step)


@pytest.mark.parametrize(("exact", "bits"), [(True, [8, 8, 8]), (False, [7, 7, 8])])
def test_the_processor_decides_by_default_where_a_cpu_runs_the_network(monkeypatch, exact, bits):
    monkeypatch.setattr(targets, "has_exact_integer_kernels", lambda: exact)
    assert [find_target(name).weight_bits for name in ("ort", "openvino", "tensorrt")] == bits
    assert find_target("ort", "8").weight_bits == 8


def test_weights_rounded_by_covariance_keep_to_seven_bits(tmp_path):
    onnx.save(network(), tmp_path / "net.onnx")
    np.savez(tmp_path / "x.npz", x=np.random.default_rng(0).normal(size=(24, 3, 8, 8)).astype(np.float32))
    run = distq.calibrate(
        model=tmp_path / "net.onnx",
        data=tmp_path / "x.npz",
        samples=16,
        weight_bits="7",
        executor="local",
        out=tmp_path / "run",
    )
    assert sorted(largest(onnx.load(run.out / "model.int8.onnx"))) == [64, 64, 127]


def test_a_network_of_eight_bits_is_told_of_where_it_saturates(load, monkeypatch):
    graph = onnx.load_model_from_string(Quantized(load(network()), weight_bits="8").exported).graph
    for exact in (True, False):
        monkeypatch.setattr("distq.replica.saturation.has_exact_integer_kernels", lambda exact=exact: exact)
        assert bool(told_of(graph)) is not exact
