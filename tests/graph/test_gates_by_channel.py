"""Which SiLU and HardSwish can have scales by channel on both sides."""

from __future__ import annotations

import onnx
import onnx_ir as ir
import pytest
from job_helpers import SHAPE, Graph

from distq.graph.channel_gates import agree, gates_of
from distq.graph.load import canonical
from distq.graph.placement import make_plan, plan_again
from distq.graph.plan import Plan
from distq.graph.settings import Settings
from distq.quant.layer_config import ThresholdSetting
from distq.targets import find_target

OUTPUT = (1, 8, *SHAPE[1:])


def network(op: str = "Sigmoid", reader: str = "") -> ir.Model:
    """A Conv ``a``, a SiLU or HardSwish ``h``, a depthwise Conv ``d``, and maybe another reader of a or h."""
    graph = Graph(0)
    graph.conv("x", (3, 8), "a", kernel=1)
    if op == "HardSwish":
        graph.add(op, ["a"], "h")
    else:
        graph.add("Mul", ["a", graph.add(op, ["a"], "s")], "h")
    graph.conv("h", (8, 8), "d", group=8)
    graph.conv("d", (8, 8), "y", kernel=1)
    outputs = {"y": OUTPUT}
    if reader:
        graph.conv(reader, (8, 8), "z", kernel=1)
        outputs["z"] = OUTPUT
    proto: onnx.ModelProto = graph.model(outputs)
    proto.opset_import[0].version = 14
    return canonical(proto)


def planned(model: ir.Model, settings: Settings | None = None, target: str = "ort") -> Plan:
    return make_plan(model, find_target(target), "auto", settings=settings or Settings())


def names(model: ir.Model, plan: Plan) -> list[tuple[str, ...]]:
    return [gate.tensors for gate in gates_of(model, plan)]


@pytest.mark.parametrize("op", ["Sigmoid", "HardSwish"])
def test_between_a_conv_and_depthwise_layers(op: str) -> None:
    model = network(op)
    assert names(model, planned(model)) == [("a", "h")]


@pytest.mark.parametrize(
    ("op", "reader"), [("Sigmoid", "a"), ("Sigmoid", "h"), ("HardSwish", "h"), ("Tanh", "")]
)
def test_not_where_something_else_reads_them_nor_with_other_activations(op: str, reader: str) -> None:
    model = network(op, reader)
    assert names(model, planned(model)) == []


def test_not_where_the_user_set_a_threshold_or_one_scale_of_weights() -> None:
    model = network()
    given = Settings(thresholds=(("h", ThresholdSetting(scale=2.0)),))
    assert names(model, planned(model, given)) == []
    (node,) = (layer.node for layer in planned(model).layers if layer.name == "d")
    assert names(model, planned(model, Settings(one_scale=frozenset({node})))) == []


def test_a_silu_beside_a_depthwise_layer_in_float_is_in_float_and_its_input_alone_has_scales() -> None:
    model = network()
    (node,) = (layer.node for layer in planned(model).layers if layer.name == "d")
    plan = planned(model, Settings(floats=((node, "as told"),)))
    assert [q.name for q in plan.quantizers] == ["x", "a", "d", "y"]
    assert names(model, plan) == [("a",)]


def test_ranges_of_one_side_alone_and_those_beside_16_bits_are_left_out() -> None:
    model = network()
    ranges = ((-1.0, 3.0),) * 8
    one = planned(model, Settings(channels=(("h", ranges),)))
    both = planned(model, Settings(channels=(("a", ranges), ("h", ranges))))
    assert not one.gates
    assert [gate.tensors for gate in both.gates] == [("a", "h")]
    assert {q.name for q in both.quantizers if q.channels} == {"a", "h"}
    wide = plan_again(both, model, int16=["a"])
    assert not wide.gates
    assert not any(q.channels for q in (*one.quantizers, *wide.quantizers))


def test_both_sides_have_one_zero_point_and_one_factor() -> None:
    data = ((-1.0, 3.0), (-2.0, 6.0))
    assert agree(data, ((-0.5, 1.5), (-1.0, 3.0)))
    assert not agree(data, ((-0.5, 1.5), (-1.0, 4.0)))
    assert not agree(data, ((-0.5, 1.5), (-2.0, 6.0)))
    assert not agree(data, ((-0.5, 1.5),))
