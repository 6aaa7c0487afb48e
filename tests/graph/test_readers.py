"""What reads a quantized tensor in float does so at no more cost than in the float network."""

import onnx
import pytest
from networks import SETTINGS, Builder, Quantized
from test_transformers import encoder, number

from distq.graph.subgraph import Network
from distq.replica.session import fuse
from distq.stages.kernels import kernels_of_layers


def kinds(quantized):
    """Operators of the graph that ONNX Runtime runs, in their order."""
    return [node.op_type for node in Network(fuse(quantized.exported, SETTINGS)).nodes]


def sized_by_itself():
    """Two convolutions with a Reshape to sizes of what the first writes."""
    b = Builder()
    b.conv("x", (3, 8), output="wide")
    rows = b.node("Shape", "wide", start=0, end=1)
    flat = b.node("Reshape", "wide", b.node("Concat", rows, b.constant([8, -1]), axis=0))
    back = b.node("Reshape", flat, b.node("Shape", "wide"))
    b.conv(back, (8, 4), output="y")
    return b.model({"x": ["batch", 3, 8, 8]}, ["y"], opset=18)


def gated_by_gelu():
    """A GELU of many nodes, as PyTorch writes it, between two convolutions."""
    b = Builder()
    data = b.conv("x", (3, 8))
    spread = b.node("Erf", b.node("Div", data, number(b, 2**0.5)))
    twice = b.node("Mul", data, b.node("Add", spread, number(b, 1)))
    b.conv(b.node("Mul", twice, number(b, 0.5)), (8, 4), output="y")
    return b.model({"x": [1, 3, 8, 8]}, ["y"], opset=18)


def test_sizes_are_those_of_the_integers(load):
    quantized = Quantized(load(sized_by_itself()))
    graph = onnx.load_model_from_string(quantized.exported).graph
    assert {node.input[0] for node in graph.node if node.op_type == "Shape"} == {"wide_quantized"}
    found = kinds(quantized)
    assert found.count("QLinearConv") == 2
    assert found.count("DequantizeLinear") == 1  # of the output
    assert quantized.sqnr() > 30


def test_a_gelu_of_what_a_convolution_writes_is_one_kernel(load):
    quantized = Quantized(load(gated_by_gelu()))
    found = kinds(quantized)
    assert "Erf" not in found
    assert found.count("Gelu") == 1
    assert found.count("DequantizeLinear") == 2  # in front of it, and of the output
    assert quantized.sqnr() > 30


@pytest.mark.parametrize("sizes", [("batch", "length"), (1, "length")])
def test_no_bias_becomes_float_in_every_run(load, sizes):
    quantized = Quantized(load(encoder(first=True, sizes=sizes)))
    nodes = Network(fuse(quantized.exported, SETTINGS))
    constants = [
        n for n in nodes.nodes if n.op_type == "DequantizeLinear" and n.input[0] in nodes.initializers
    ]
    assert not constants
    found = kernels_of_layers(quantized.loaded.model, quantized.plan, quantized.exported)
    assert (found.layers, found.of) == (18, 18)
    assert quantized.sqnr() > 20


def test_sizes_that_a_caller_fixes_make_no_float_gemm(load):
    quantized = Quantized(load(encoder(first=True, sizes=("batch", "length"))))
    fixed = onnx.load_model_from_string(quantized.exported)
    for dim, size in zip(fixed.graph.input[0].type.tensor_type.shape.dim, (1, 6, 16), strict=True):
        dim.dim_value = size
    found = [node.op_type for node in Network(fuse(fixed.SerializeToString(), SETTINGS)).nodes]
    assert "Gemm" not in found
    assert found.count("MatMulIntegerToFloat") >= 14
