"""Linear layers of tensors, in each of the forms in which exporters write them."""

import numpy as np
import onnxruntime
import pytest
from networks import Builder, node_types

from distq.graph.layers import Layer, compute_layer


def plain(b, product):
    return b.node("Identity", product, output="y")


def bias(b, product):
    return b.node("Add", product, b.random(6), output="y")


def bias_on_the_left(b, product):
    return b.node("Add", b.random(6), product, output="y")


def bias_of_a_row(b, product):
    return b.node("Add", product, b.random(1, 1, 6), output="y")


def number(b, product):
    return b.node("Add", product, b.constant(np.float32(0.5)), output="y")


def scaled(b, product):
    summed = b.node("Sub", b.node("Add", b.random(6), product), b.random(6))
    return b.node("Div", b.node("Mul", summed, b.positive(6)), b.constant(np.float32(8)), output="y")


def taken_from_a_constant(b, product):
    return b.node("Sub", b.random(6), product, output="y")


FORMS = {f.__name__: f for f in (plain, bias, bias_on_the_left, bias_of_a_row, number, scaled)}
FORMS["taken_from_a_constant"] = taken_from_a_constant
WEIGHTS = {"a matrix": (8, 6), "a stack of one": (1, 8, 6)}


def layers(loaded):
    return [found for node in loaded.model.graph if isinstance(found := compute_layer(node), Layer)]


def assert_the_same_for_all_sizes(loaded, proto, sizes):
    rng = np.random.default_rng(2)
    given, made = (onnxruntime.InferenceSession(m) for m in (proto.SerializeToString(), loaded.serialized()))
    for shape in sizes:
        feeds = {"x": rng.normal(size=shape).astype(np.float32)}
        np.testing.assert_allclose(made.run(None, feeds)[0], given.run(None, feeds)[0], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("weights", WEIGHTS)
@pytest.mark.parametrize("form", FORMS)
def test_every_form_becomes_one_layer_with_a_bias_and_computes_the_same_for_open_sizes(load, form, weights):
    b = Builder(1)
    FORMS[form](b, b.node("MatMul", "x", b.random(*WEIGHTS[weights]), output="product"))
    proto = b.model({"x": ["N", "S", 8]}, ["y"])
    loaded = load(proto)
    (layer,) = layers(loaded)
    assert layer.name == layer.output == "y"
    assert layer.add is not None
    assert layer.bias is not None
    assert set(node_types(loaded)) == {"MatMul", "Add"}
    assert_the_same_for_all_sizes(loaded, proto, [(1, 5, 8), (3, 1, 8), (2, 7, 8)])


def test_a_sum_that_is_read_before_it_is_whole_keeps_its_tensors(load):
    b = Builder(1)
    product = b.node("MatMul", "x", b.random(8, 6), output="product")
    b.node("Add", product, b.node("Relu", b.node("Add", product, b.random(6), output="sum")), output="y")
    proto = b.model({"x": ["N", "S", 8]}, ["y"])
    loaded = load(proto)
    assert [layer.name for layer in layers(loaded)] == ["product"]
    assert_the_same_for_all_sizes(loaded, proto, [(2, 5, 8)])


def test_a_constant_that_is_no_bias_stays_behind(load):
    b = Builder(1)
    product = b.node("MatMul", "x", b.random(8, 6), output="product")
    b.node("Add", product, b.random(5, 1), output="y")
    proto = b.model({"x": ["N", 5, 8]}, ["y"])
    loaded = load(proto)
    assert [layer.name for layer in layers(loaded)] == ["product"]
    assert_the_same_for_all_sizes(loaded, proto, [(1, 5, 8), (3, 5, 8)])


@pytest.mark.parametrize("split", [False, True])
def test_a_bias_behind_the_reshape_of_rows_is_that_of_the_layer(load, split):
    b = Builder(1)
    rows = b.node("Reshape", "x", b.constant([-1, 8]))
    product = b.node("MatMul", rows, b.random(8, 6), output="product")
    shape = [-1, 5, 2, 3] if split else [-1, 5, 6]
    back = b.node("Reshape", product, b.constant(shape), output="back")
    b.node("Add", b.random(2, 3) if split else b.random(6), back, output="y")
    proto = b.model({"x": ["N", 5, 8]}, ["y"])
    loaded = load(proto)
    (layer,) = layers(loaded)
    assert (layer.name, layer.op) == ("product", "Gemm")
    assert layer.bias is not None
    assert "Add" not in node_types(loaded)
    assert_the_same_for_all_sizes(loaded, proto, [(1, 5, 8), (3, 5, 8)])
