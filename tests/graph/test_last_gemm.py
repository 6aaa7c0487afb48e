"""The last Gemm of a network writes float, and keeps a row in tables."""

import onnx
import pytest
from networks import SETTINGS, Builder, Quantized

from distq.graph.placement import make_plan
from distq.graph.rows import full_table
from distq.graph.subgraph import Network
from distq.replica.session import fuse
from distq.targets import find_target


def classifier(*behind: str) -> onnx.ModelProto:
    """A Gemm, a Relu and a Gemm, and operators that follow one on another behind it."""
    b = Builder()
    hidden = b.node("Relu", b.node("Gemm", "x", b.random(16, 24), b.random(24)), output="hidden")
    last = b.node("Gemm", hidden, b.random(24, 5), b.random(5), output="scores")
    for op in behind:
        last = b.node(op, last, output=op)
    return b.model({"x": [1, 16]}, [last])


def gated() -> onnx.ModelProto:
    """A Gemm whose Sigmoid gates the channels of a Conv."""
    b = Builder()
    data = b.conv("x", (4, 4), output="data")
    mean = b.node("Flatten", b.node("GlobalAveragePool", data))
    gate = b.node("Sigmoid", b.node("Gemm", mean, b.random(4, 4), b.random(4), output="gate"))
    wide = b.node("Reshape", gate, b.constant([1, 4, 1, 1]))
    b.conv(b.node("Mul", data, wide), (4, 3), output="y")
    return b.model({"x": [1, 4, 8, 8]}, ["y"])


@pytest.mark.parametrize("behind", [(), ("Softmax",), ("Sigmoid", "Neg"), ("LeakyRelu",)])
@pytest.mark.parametrize("scheme", ["auto", "symmetric"])
def test_no_integer_kernel_rounds_what_the_network_gives(load, behind, scheme):
    quantized = Quantized(load(classifier(*behind)), scheme=scheme)
    assert [q.name for q in quantized.plan.quantizers] == ["x", "hidden"]
    assert [q.name for q in quantized.plan.listed] == ["scores"]
    kinds = [node.op_type for node in Network(fuse(quantized.exported, SETTINGS)).nodes]
    assert kinds.count("QGemm") == 2
    assert kinds[-1 - len(behind) :] == ["QGemm", *behind]
    assert quantized.sqnr() > 22  # 30 with weights of 8 bits


def test_its_row_is_in_the_table(load):
    quantized = Quantized(load(classifier()))
    assert list(full_table(quantized.plan, quantized.table)) == ["x", "hidden", "scores"]


def test_with_a_relu_behind_it_it_stays_an_integer_kernel(load):
    quantized = Quantized(load(classifier("Relu", "Neg")))
    assert [q.name for q in quantized.plan.quantizers] == ["x", "hidden", "Relu"]
    kinds = [node.op_type for node in Network(fuse(quantized.exported, SETTINGS)).nodes]
    assert kinds.count("QGemm") == 2


def test_a_gemm_that_gates_channels_keeps_its_quantizer(load):
    plan = make_plan(load(gated()).model, find_target("ort"), "auto")
    assert "gate" in plan.by_tensor
    assert not plan.listed


def test_other_targets_list_what_layers_read_alone(load):
    plan = make_plan(load(classifier()).model, find_target("openvino"), "auto")
    assert not plan.listed


def test_it_may_have_16_bits_in_the_table(load):
    model = load(classifier()).model
    plan = make_plan(model, find_target("ort"), "auto", int16=["scores"])
    assert plan.wide == {"scores"}
    assert plan.opset == 13, "the network itself has none"
