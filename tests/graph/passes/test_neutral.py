import numpy as np
import pytest
from idle_networks import OPERATORS, network
from networks import Builder, assert_computes_the_same, node_types

IMAGE = [1, 4, 6, 6]
IDLE = {
    "Clip, open",
    "Cast",
    "Mul by 1",
    "Add of 0",
    "Transpose there and back",
    "Reshape there and back",
    "Unsqueeze and Squeeze",
    "Concat of one",
    "Identity",
}


@pytest.mark.parametrize("name", sorted(IDLE))
def test_what_gives_back_its_input_is_left_out(load, name):
    proto = network(0, [[name, name]])
    loaded = load(proto)
    left = node_types(loaded)
    assert set(left) <= {"Conv", "Transpose", "Reshape", "Unsqueeze"}
    assert left.count("Conv") == 3
    assert_computes_the_same(loaded, proto)


@pytest.mark.parametrize("name", sorted(OPERATORS.keys() - IDLE - {"Conv", "Clip, wide"}))
def test_what_does_not_stays_once(load, name):
    proto = network(0, [[name]])
    loaded = load(proto)
    assert len(node_types(loaded)) > 3 or name == "Mul by 2"
    assert_computes_the_same(loaded, proto)


@pytest.mark.parametrize(
    ("first", "second", "left"),
    [
        ("Relu", "Relu", ["Relu"]),
        ("Clip to 6", "Relu", ["Clip"]),
        ("Clip to 6", "Clip, wide", ["Clip"]),
        ("Sigmoid", "Clip to 6", ["Sigmoid"]),
        ("Relu", "Clip to 6", ["Relu", "Clip"]),
        ("Relu", "Clip, symmetric", ["Relu", "Clip"]),
        ("LeakyRelu", "Relu", ["LeakyRelu", "Relu"]),
    ],
)
def test_bounds_that_a_value_keeps_are_left_out(load, first, second, left):
    loaded = load(network(0, [[first, second]]))
    assert [op for op in node_types(loaded) if op != "Conv"] == left


def test_a_bound_behind_a_cubic_resize_stays(load):
    b = Builder()
    scales = b.constant(np.array([1, 1, 2, 2], np.float32))
    resized = b.node("Resize", b.node("Relu", b.conv("x", (4, 4))), "", scales, mode="cubic")
    b.conv(b.node("Relu", resized), (4, 3), output="y")
    assert node_types(load(b.model({"x": IMAGE}, ["y"]))).count("Relu") == 2


def test_a_constant_that_broadcasts_its_other_operand_stays(load):
    b = Builder()
    ones = b.constant(np.ones((1, 4, 6, 6), np.float32))
    wide = b.node("Mul", b.node("GlobalAveragePool", b.node("Relu", b.conv("x", (4, 4)))), ones)
    b.conv(wide, (4, 3), output="y")
    proto = b.model({"x": IMAGE}, ["y"])
    loaded = load(proto)
    assert "Mul" in node_types(loaded)
    assert_computes_the_same(loaded, proto)


def test_a_network_output_keeps_its_name_and_its_operator(load):
    b = Builder()
    b.node("Cast", b.conv("x", (4, 4)), output="y", to=1)
    proto = b.model({"x": IMAGE}, ["y"])
    loaded = load(proto)
    assert [value.name for value in loaded.model.graph.outputs] == ["y"]
    assert_computes_the_same(loaded, proto)
