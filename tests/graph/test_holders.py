"""Which tensor before it holds a quantized tensor that the graph that is run no longer has."""

import pytest
from networks import Builder

from distq.graph.holders import held_before
from distq.graph.placement import make_plan
from distq.targets.openvino import OPENVINO


def made_of(b, first, kind):
    if kind == "a product":
        return b.node("Gemm", first, b.random(6, 6), output="last")
    if kind == "a function":
        return b.node("Exp", first, output="last")
    return b.node("Relu", b.node("Transpose", first, perm=[1, 0]), output="last")


@pytest.mark.parametrize(
    ("kind", "holder"), [("a product", None), ("a function", None), ("what keeps values", "first")]
)
def test_it_is_the_one_before_only_where_what_stands_between_keeps_values(load, kind, holder):
    b = Builder(2)
    first = b.node("Tanh", "x", output="first")
    b.node("Gemm", first, b.random(6, 3), output="z")
    b.node("Gemm", made_of(b, first, kind), b.random(6, 2), output="y")
    model = load(b.model({"x": [6, 6]}, ["y", "z"])).model
    plan = make_plan(model, OPENVINO, "auto")
    assert plan.by_tensor.keys() == {"first", "last"}
    assert held_before(model, plan, ["last"]) == ({} if holder is None else {"last": holder})
