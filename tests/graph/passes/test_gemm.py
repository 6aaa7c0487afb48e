import numpy as np
import pytest
from networks import Builder, assert_computes_the_same, node_types


@pytest.mark.parametrize("bias", [True, False])
def test_a_matrix_product_and_its_bias_become_one_gemm(load, bias):
    b = Builder()
    t = b.node("MatMul", "x", b.random(3, 5), output="y" if not bias else None)
    if bias:
        b.node("Add", b.random(5), t, output="y")
    proto = b.model({"x": ["N", 3]}, ["y"])
    loaded = load(proto)
    assert node_types(loaded) == ["Gemm"]
    assert_computes_the_same(loaded, proto, batch=4)


@pytest.mark.parametrize("shape", [[2, 4, 3], [2, 2, 4, 3]])
def test_a_product_of_more_dimensions_stays(load, shape):
    b = Builder()
    b.node("Add", b.node("MatMul", "x", b.random(3, 5)), b.random(5), output="y")
    proto = b.model({"x": shape}, ["y"])
    loaded = load(proto)
    assert node_types(loaded) == ["MatMul", "Add"]
    assert_computes_the_same(loaded, proto)


def test_a_product_of_two_tensors_stays(load):
    b = Builder()
    b.node("MatMul", "x", "w", output="y")
    proto = b.model({"x": [4, 3], "w": [3, 5]}, ["y"])
    loaded = load(proto)
    assert node_types(loaded) == ["MatMul"]
    assert_computes_the_same(loaded, proto)


@pytest.mark.parametrize("bias", [None, (), (1,), (5,), (1, 5), (1, 1)])
@pytest.mark.parametrize("transposed", [0, 1])
def test_factors_and_biases_of_any_shape_become_one_value_a_column(load, bias, transposed):
    b = Builder()
    inputs = ["x", b.random(*((5, 3) if transposed else (3, 5)))]
    if bias is not None:
        inputs.append(b.random(*bias))
    b.node("Gemm", *inputs, output="y", alpha=0.5, beta=2.0, transB=transposed)
    proto = b.model({"x": [2, 3]}, ["y"])
    loaded = load(proto)
    (node,) = loaded.model.graph
    assert not {"alpha", "beta"} & set(node.attributes)
    if bias is not None:
        assert node.inputs[2].const_value.shape == (5,)
    assert_computes_the_same(loaded, proto)


def test_a_bias_that_differs_from_row_to_row_stays(load):
    b = Builder()
    b.node("Gemm", "x", b.random(3, 5), b.random(2, 5), output="y", alpha=0.5)
    proto = b.model({"x": [2, 3]}, ["y"])
    assert_computes_the_same(load(proto), proto)


def test_weights_shared_by_two_products_are_scaled_in_one_alone(load):
    b = Builder()
    weight = b.constant(np.eye(3, dtype=np.float32) * 2)
    b.node("Gemm", b.node("Gemm", "x", weight, alpha=0.5), weight, output="y")
    proto = b.model({"x": [2, 3]}, ["y"])
    assert_computes_the_same(load(proto), proto)
