import numpy as np
import pytest
from networks import Builder, Quantized, assert_computes_the_same, node_types

from distq.stages.kernels import integer_kernels
from distq.targets.ort import ORT


def conv_bias(dimensions):
    b = Builder(1)
    bias = b.node("Reshape", b.node("MatMul", "v", b.random(8, 6)), b.constant(np.array([6])))
    b.node(
        "Conv", "x", b.random(6, 4, *[3] * dimensions, scale=0.2), bias, output="y", pads=[1] * 2 * dimensions
    )
    return b.model({"x": [1, 4, *[6] * dimensions], "v": [1, 8]}, ["y"])


def gemm(bias, **attributes):
    b = Builder(1)
    left = [8, 2] if attributes.get("transA") else [2, 8]
    addend = b.node("MatMul", "v", b.random(8, 5)) if bias == "computed" else b.random(*bias)
    a = b.node("MatMul", "x", b.random(left[1], left[1]))
    weight = b.random(5, 8) if attributes.get("transB") else b.random(8, 5)
    b.node("Gemm", a, weight, addend, output="y", **attributes)
    return b.model({"x": left, **({"v": [2, 8]} if bias == "computed" else {})}, ["y"])


def left(shape, *ones):
    b = Builder(1)
    a = b.node("MatMul", b.random(*ones, 5, shape[-2], scale=0.4), "x")
    b.node("MatMul", b.random(*ones, 3, 5, scale=0.4), b.node("Relu", a), output="y")
    return b.model({"x": shape}, ["y"])


def vector(side):
    b = Builder(1)
    first, second = ([8, 5], [5, 3]) if side == "right" else ([5, 8], [3, 5])
    step = -1 if side == "left" else 1
    hidden = b.node("MatMul", *("x", b.random(*first))[::step])
    hidden = b.node("Relu", b.node("Add", hidden, b.random(5)))
    b.node("MatMul", *(hidden, b.random(*second))[::step], output="y")
    return b.model({"x": [8]}, ["y"])


PRODUCTS = {
    "Conv that computes its bias": conv_bias(2),
    "Conv of one dimension that computes its bias": conv_bias(1),
    "Gemm that computes its bias": gemm("computed"),
    "Gemm with a bias a row": gemm((2, 1)),
    "Gemm with a matrix as bias": gemm((2, 5)),
    "Gemm of a transposed input": gemm((5,), transA=1, alpha=0.5, beta=2.0),
    "Gemm of a transposed input with a matrix as bias": gemm((2, 5), transA=1, transB=1),
    "MatMul of a constant and a matrix": left([8, 4]),
    "MatMul of a constant and a stack": left([2, 8, 4]),
    "MatMul of a constant and stacks": left([2, 3, 8, 4]),
    "MatMul of a constant stack of one and a stack": left([2, 8, 4], 1),
    "MatMul of a vector and a constant": vector("right"),
    "MatMul of a constant and a vector": vector("left"),
}


@pytest.mark.parametrize("kind", PRODUCTS)
def test_products_get_the_form_of_integer_kernels(load, kind):
    proto = PRODUCTS[kind]
    loaded = load(proto)
    assert_computes_the_same(loaded, proto)
    quantized = Quantized(loaded)
    products = [n for n in loaded.model.graph if n.op_type in {"Conv", "Gemm", "MatMul"}]
    assert [layer.node for layer in quantized.plan.layers] == [node.name for node in products]
    ran = integer_kernels(quantized.exported)
    assert all(ran[layer.node] in ORT.fused_kernels for layer in quantized.plan.layers)
    assert quantized.sqnr() > 25


@pytest.mark.parametrize("kind", PRODUCTS)
def test_what_products_become_is_called_after_them(load, kind):
    proto = PRODUCTS[kind]
    given = {name for node in proto.graph.node for name in node.output}
    for node in load(proto).model.graph:
        assert any((node.outputs[0].name or "").startswith(name) for name in given)
        assert "node_" not in (node.name or "")


def test_other_products_stay(load):
    b = Builder()
    a = b.node("Gemm", "x", b.random(8, 5), b.node("Relu", "v"), beta=0.5)
    b.node("MatMul", b.random(3, 1, 2), a, output="y")
    proto = b.model({"x": [2, 8], "v": [2, 5]}, ["y"])
    assert node_types(load(proto)) == ["Relu", "Gemm", "MatMul"]
