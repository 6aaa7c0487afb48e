"""What a network costs beside one in INT8 alone."""

from __future__ import annotations

from pathlib import Path

import pytest
from networks import Builder, load

from distq.graph.network_cost import multiplications, network_cost, shares
from distq.graph.placement import make_plan
from distq.targets import find_target


@pytest.fixture(scope="module")
def loaded(tmp_path_factory):
    graph = Builder()
    first = graph.node("Relu", graph.conv("x", (3, 4), output="sums"), output="first")
    graph.conv(first, (4, 4), group=4, output="depthwise")
    graph.node("ConvTranspose", "depthwise", graph.random(4, 2, 2, 2), output="up", strides=[2, 2])
    graph.node("Flatten", "up", output="flat")
    graph.node("Gemm", "flat", graph.random(512, 5), output="y")
    return load(tmp_path_factory.mktemp("cost"), graph.model({"x": [1, 3, 8, 8]}, ["y"]))


def plan_of(loaded, **choice):
    return make_plan(loaded.model, find_target("ort"), "auto", **choice)


def work_of(loaded):
    nodes = {node.name: node for node in loaded.model.graph}
    return {layer.name: multiplications(nodes[layer.node]) for layer in plan_of(loaded).layers}


def test_multiplications_of_each_kind_of_layer(loaded) -> None:
    work = work_of(loaded)
    assert work == {
        "first": 4 * 64 * 3 * 9,
        "depthwise": 4 * 64 * 9,
        "up": 4 * 64 * 2 * 4,
        "y": 512 * 5,
    }


def test_int8_costs_nothing(loaded) -> None:
    cost = network_cost(loaded.model, plan_of(loaded))
    assert (cost.layers, cost.macs) == (0, 0.0)


def test_a_float_layer_costs_its_share(loaded) -> None:
    cost = network_cost(loaded.model, plan_of(loaded, float_layers=["first"]))
    assert cost.float_layers == ("first",)
    assert cost.macs == pytest.approx(6912 / (6912 + 2304 + 2048 + 2560))


def test_16_bits_cost_the_layers_that_read_and_write_them(loaded) -> None:
    cost = network_cost(loaded.model, plan_of(loaded, int16=["depthwise"]))
    assert cost.float_layers == ()
    assert cost.wide_layers == ("depthwise", "up")
    assert cost.layers == 2


def test_a_product_of_activations(tmp_path: Path) -> None:
    graph = Builder()
    graph.node("MatMul", "a", "b", output="product")
    graph.node("MatMul", "product", graph.random(4, 2), output="y")
    found = load(tmp_path, graph.model({"a": [1, 3, 5], "b": [1, 5, 4]}, ["y"]))
    assert work_of(found) == {"product": 3 * 4 * 5, "y": 3 * 2 * 4}


def test_matrices_of_a_batch_are_multiplied_each_by_its_own(tmp_path: Path) -> None:
    graph = Builder()
    graph.node("MatMul", "a", graph.random(2, 5, 4), output="product")
    graph.node("MatMul", "product", graph.random(4, 3), output="y")
    found = load(tmp_path, graph.model({"a": [2, 7, 5]}, ["y"]))
    assert work_of(found) == {"product": 2 * 7 * 5 * 4, "y": 2 * 7 * 4 * 3}


def test_shares_are_of_all_multiplications_and_what_int8_cannot_carry_costs(tmp_path: Path) -> None:
    graph = Builder()
    graph.conv("x", (4, 4), output="first")
    graph.node("ConvTranspose", "first", graph.random(4, 1, 2, 2), output="up", strides=[2, 2], group=4)
    graph.conv("up", (4, 2), output="y")
    found = load(tmp_path, graph.model({"x": [1, 4, 8, 8]}, ["y"]))
    parts = shares(found.model)
    assert sum(parts.values()) == pytest.approx(1)
    counts = [4 * 64 * 4 * 9, 4 * 64 * 4, 2 * 256 * 4 * 9]
    assert [*parts.values()] == pytest.approx([count / sum(counts) for count in counts])
    cost = network_cost(found.model, plan_of(found))
    assert cost.float_layers == ("up",)
    assert cost.macs == pytest.approx(counts[1] / sum(counts))
