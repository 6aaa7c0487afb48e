"""What ONNX Runtime fused with a layer in a file that it saved is quantized as what it was made of."""

from __future__ import annotations

import networks
import numpy as np
import pytest
from networks import (
    Builder,
    Quantized,
    assert_computes_the_same,
    feeds_of,
    node_types,
    run_literally,
    sqnr,
)
from onnx import TensorProto, helper

from distq.graph.placement import make_plan
from distq.stages.kernels import kernels_of_layers
from distq.targets import find_target

IMAGE, RUNTIME = [1, 4, 6, 6], "com.microsoft"


def of(opset, build):
    """A network of a fused node that reads x, and a layer of four columns or channels behind."""
    b = Builder(1)
    build(b)
    inputs, outputs = (IMAGE, [1, 3, 6, 6]) if "Conv" in b.nodes[0].op_type else ([2, 4], [2, 3])
    return b.model({"x": inputs}, {"y": outputs}, opset, domains=(RUNTIME,))


def conv(activation, params=(), *, added=False, opset=13):
    def build(b):
        inputs = ["x", b.random(4, 4, 3, 3), b.random(4), *(["x"] if added else [])]
        given = {"activation": activation} if activation else {}
        given |= {"activation_params": list(params)} if params else {}
        b.node("FusedConv", *inputs, output="h", domain=RUNTIME, name="fused", pads=[1] * 4, **given)
        b.conv("h", (4, 3), output="y")

    return of(opset, build)


def dense(op, **attributes):
    def build(b):
        bias = [b.random(6)] if op == "FusedGemm" else []
        b.node(op, "x", b.random(4, 6), *bias, output="h", domain=RUNTIME, name="fused", **attributes)
        b.node("MatMul", "h", b.random(6, 3), output="y")

    return of(13, build)


FUSED = {
    "Relu": conv("Relu"),
    "Clip": conv("Clip", (0.0, 2.0)),
    "Clip of opset 9": conv("Clip", (0.0, 2.0), opset=9),
    "LeakyRelu": conv("LeakyRelu", (0.2,)),
    "HardSigmoid": conv("HardSigmoid", (0.3, 0.4)),
    "a sum": conv("", added=True),
    "a sum and Relu": conv("Relu", added=True),
    "Gemm": dense("FusedGemm", activation="Relu"),
    "Gemm and LeakyRelu": dense("FusedGemm", activation="LeakyRelu", activation_alpha=0.3),
    "MatMul": dense("FusedMatMul"),
    "scaled MatMul": dense("FusedMatMul", alpha=0.25),
}


@pytest.mark.parametrize("kind", FUSED)
def test_it_computes_the_same_and_is_a_layer(load, kind):
    loaded = load(FUSED[kind])
    assert_computes_the_same(loaded, FUSED[kind])
    assert not any(operator.startswith("Fused") for operator in node_types(loaded))
    names = [layer.node for layer in make_plan(loaded.model, find_target("ort"), "auto").layers]
    assert len(names) == 2
    assert names[0] == "fused"


@pytest.mark.parametrize("opset", [11, 17, 20])
@pytest.mark.parametrize("masked", [False, True])
def test_an_attention_has_its_projections_in_front(load, opset, masked):
    b = Builder(1)
    inputs = ["x", b.random(16, 48, scale=0.25), b.random(48), *(["m"] if masked else [])]
    b.node("Attention", *inputs, output="a", name="attention", domain=RUNTIME, num_heads=4)
    b.node("MatMul", "a", b.random(16, 4), output="y")
    proto = b.model({"x": [2, 6, 16]}, {"y": [2, 6, 4]}, opset, domains=(RUNTIME,))
    feeds = feeds_of(proto)
    if masked:
        proto.graph.input.append(helper.make_tensor_value_info("m", TensorProto.INT32, [2, 6]))
        feeds["m"] = np.array([[1, 1, 1, 1, 0, 0], [1] * 6], np.int32)
    loaded = load(proto)
    found, wanted = (list(run_literally(m, feeds).values()) for m in (loaded.serialized(), proto))
    assert sqnr(found, wanted) > 100
    first, _ = make_plan(loaded.model, find_target("ort"), "auto").layers
    assert first.node == "attention"
    assert "MultiHeadAttention" in node_types(loaded)


def test_a_product_of_turned_inputs_stays(load):
    b = Builder(1)
    b.node("FusedMatMul", "x", b.random(2, 6), output="h", domain=RUNTIME, transA=1)
    b.node("MatMul", "h", b.random(6, 3), output="y")
    assert "FusedMatMul" in node_types(load(b.model({"x": [2, 4]}, {"y": [4, 3]}, domains=(RUNTIME,))))


def test_a_gemm_that_onnx_runtime_made_before_is_known_by_its_name(tmp_path):
    """It ends as those that ONNX Runtime makes of a MatMul and an Add do."""
    b = Builder(1)
    rows = b.node("Reshape", "x", b.constant(np.array([6, 8])))
    made = b.node("Gemm", rows, b.random(8, 5), b.random(5), name="up/MatMulAddFusion")
    shaped = b.node("Relu", b.node("Reshape", made, b.constant(np.array([2, 3, 5]))))
    b.node("MatMul", shaped, b.random(5, 4), output="y")
    quantized = Quantized(networks.load(tmp_path, b.model({"x": [2, 3, 8]}, ["y"])), samples=1)
    found = kernels_of_layers(quantized.loaded.model, quantized.plan, quantized.exported)
    assert (found.layers, found.of) == (2, 2)
