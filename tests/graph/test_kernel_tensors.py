"""Which inputs of a Concat share its quantizer."""

from __future__ import annotations

import numpy as np
import pytest
from networks import Builder, Quantized
from zoo import concat, relu, silu

from distq.graph.placement import make_plan
from distq.graph.settings import Settings
from distq.targets import find_target


def plain(_, t):
    return t


def groups(load, proto, rule, scheme="auto"):
    plan = make_plan(load(proto).model, find_target("ort"), scheme, settings=Settings(concat=rule))
    return [set(q.tensors) for q in plan.quantizers]


def test_auto_ties_what_is_alike_tie_all_and_requantize_nothing(load):
    alike, others = concat(relu, relu), concat(relu, plain)
    assert [len(group) for group in groups(load, alike, "auto")] == [1, 3, 1]
    assert [len(group) for group in groups(load, alike, "requantize")] == [1, 1, 1, 1, 1]
    assert [len(group) for group in groups(load, others, "auto")] == [1, 1, 1, 1, 1]
    assert {"b", "h"} < groups(load, others, "tie")[1]


@pytest.mark.parametrize("rule", ["auto", "tie", "requantize"])
@pytest.mark.parametrize("scheme", ["auto", "symmetric"])
@pytest.mark.parametrize("parts", [(relu, relu), (relu, plain), (relu, silu)], ids=["alike", "plain", "silu"])
def test_every_rule_computes_the_network(load, rule, scheme, parts):
    loaded = load(concat(*parts))
    found = Quantized(loaded, scheme=scheme, settings=Settings(concat=rule))
    assert found.sqnr() > 25


def test_a_relu_tied_to_a_range_below_zero_still_ends_at_zero(load):
    loaded = load(concat(relu, plain))
    found = Quantized(loaded, settings=Settings(concat="tie"))
    tied = found.plan.by_tensor["h"]
    assert not tied.non_negative
    assert found.table["h"].min < 0
    assert "Relu" not in {name.split("_")[0] for name in found.plan.dropped}
    bound = Quantized(loaded, settings=Settings(concat="requantize"))
    assert len(bound.plan.dropped) == 1


def test_what_two_nodes_read_is_not_tied(load):
    b = Builder(1)
    left = b.conv("x", (4, 4), output="left")
    right = b.conv("x", (4, 4), output="right")
    joined = b.node("Concat", left, right, output="h", axis=1)
    b.conv(joined, (8, 4), output="y")
    b.conv(left, (4, 4), output="z")
    found = groups(load, b.model({"x": [1, 4, 8, 8]}, ["y", "z"]), "tie")
    assert {"right", "h"} in found
    assert {"left"} in found
    assert np.sum([len(group) for group in found]) == 6
