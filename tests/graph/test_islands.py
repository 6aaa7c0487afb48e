"""Which nodes lie before, behind or between the layers that a user names."""

from __future__ import annotations

import pytest
from networks import Builder

from distq.graph.islands import before, behind, block, is_depthwise
from distq.graph.named import nodes_by_name
from distq.graph.placement import make_plan
from distq.graph.roles import find_roles
from distq.graph.settings import Settings
from distq.targets import find_target

ORT = find_target("ort")


def detector():
    """Stem, two branches with a Relu each, one with a Sigmoid behind it, joined by a Concat."""
    b = Builder(1)
    stem = b.node("Relu", b.conv("x", (4, 4), output="stem_sums", name="stem_conv"), output="stem")
    left = b.node("Relu", b.conv(stem, (4, 4), output="left_sums"), output="left")
    gate = b.node("Sigmoid", b.conv(stem, (4, 4), output="gate_sums"), output="gate")
    right = b.conv(gate, (4, 4), output="right")
    b.conv(b.node("Concat", left, right, output="joined", axis=1), (8, 4), output="y")
    return b.model({"x": [1, 4, 8, 8]}, ["y"])


@pytest.fixture
def graph(load):
    return load(detector()).model.graph


def written(nodes):
    return {node.outputs[0].name for node in nodes}


def test_a_layer_is_known_by_its_output_its_own_output_and_its_node(graph):
    known = nodes_by_name(graph)
    assert known["stem"] is known["stem_sums"] is known["stem_conv"]
    assert known["stem"].op_type == "Conv"
    assert known["joined"].op_type == "Concat"


def test_before_and_behind_follow_every_branch(graph):
    known = nodes_by_name(graph)
    assert written(before(known["right"])) == {"right", "gate", "gate_sums", "stem", "stem_sums"}
    assert written(before(known["left"])) == {"left", "left_sums", "stem", "stem_sums"}
    assert written(behind(known["right"])) == {"right", "joined", "y"}
    assert written(behind(known["left"])) == {"left", "left_sums", "joined", "y"}


def test_a_block_ends_at_the_next_that_computes_in_float(graph):
    known = nodes_by_name(graph)
    integer = find_roles(graph, ORT, None, ()).integer
    assert written(block(known["gate_sums"], integer)) == {"gate_sums"}
    stem = {"stem", "stem_sums", "left", "left_sums", "joined", "y", "gate_sums"}
    assert written(block(known["stem"], integer)) == stem
    kept = find_roles(graph, ORT, None, (), {known["joined"].name: "why"}).integer
    assert written(block(known["stem"], kept)) == stem - {"joined", "y"}


def test_depthwise_is_one_input_channel_for_each_output(load):
    b = Builder(1)
    first = b.conv("x", (4, 8), group=4, output="depthwise")
    b.conv(first, (8, 8), group=2, output="grouped")
    b.conv("grouped", (8, 3), output="y")
    known = nodes_by_name(load(b.model({"x": [1, 4, 8, 8]}, ["y"])).model.graph)
    assert [is_depthwise(known[n]) for n in ("depthwise", "grouped", "y")] == [True, False, False]


def test_what_is_kept_in_float_has_no_quantizers_and_its_reason(load):
    loaded = load(detector())
    node = nodes_by_name(loaded.model.graph)["left"].name
    plan = make_plan(loaded.model, ORT, "auto", settings=Settings(floats=((node, "as I said"),)))
    assert dict(plan.float_nodes)["left"] == "as I said"
    assert "left" in plan.by_tensor  # the Concat behind it reads integers
    assert "left_sums" not in plan.by_tensor
    assert [layer.name for layer in plan.layers] == ["stem", "gate_sums", "right", "y"]


def test_what_is_left_without_a_layer_before_or_behind_it_is_float_too(load):
    loaded = load(detector())
    known = nodes_by_name(loaded.model.graph)
    floats = tuple((known[name].name, "kept") for name in ("y", "stem"))
    plan = make_plan(loaded.model, ORT, "auto", settings=Settings(floats=floats))
    reasons = dict(plan.float_nodes)
    assert "behind the last layer" in reasons["joined"]
    assert "stem" in plan.by_tensor
    assert "x" not in plan.by_tensor
