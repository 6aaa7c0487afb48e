"""Convolutions of few channels at the input stay float where INT8 as a whole is predicted to be slower."""

from dataclasses import replace

import onnx
import pytest
from networks import Builder, Quantized

from distq.graph.placement import make_plan, plan_again
from distq.graph.predicted import predicted
from distq.graph.settings import Settings
from distq.stages.kernels import integer_kernels
from distq.targets import TARGETS

NEVER = Settings(float_if_faster=False)


def thin(size=64, dense=0, pool=False):
    """Conv of one channel, a depthwise Conv, a Conv of eight, and so many of 64 channels."""
    b = Builder(1)
    b.node("Relu", b.conv("x", (1, 8), output="first_sums"), output="first")
    b.conv("first", (8, 8), group=8, output="depthwise")
    data = b.node("MaxPool", "depthwise", kernel_shape=[2, 2], strides=[2, 2]) if pool else "depthwise"
    data = b.conv(data, (8, 64 if dense else 8), kernel=1, output="mixed")
    for i in range(dense):
        data = b.conv(data, (64, 64), output=f"dense{i}")
    b.conv(data, (64 if dense else 8, 2), kernel=1, output="y")
    return b.model({"x": [1, 1, size, size]}, ["y"])


def front(load, proto, target="ort", settings=None):
    plan = make_plan(load(proto).model, TARGETS[target], "auto", settings=settings or Settings())
    return [name for name, why in plan.float_nodes if "few channels at the input" in why]


def test_they_stay_float_where_that_is_predicted_to_be_faster(load):
    loaded = load(thin())
    as_it_is = make_plan(loaded.model, TARGETS["ort"], "auto", settings=NEVER)
    plan = make_plan(loaded.model, TARGETS["ort"], "auto")
    assert [layer.name for layer in plan.layers] == ["mixed", "y"]
    before, after = predicted(loaded.model, as_it_is), predicted(loaded.model, plan)
    assert before.int8 > before.in_float == after.in_float
    assert after.int8 < before.int8


@pytest.mark.parametrize("other", [thin(size=8), thin(dense=3)], ids=["tiny", "dense"])
def test_in_tiny_networks_and_where_int8_is_faster_nothing_does(load, other):
    assert front(load, thin())
    assert not front(load, other)


@pytest.mark.parametrize("target", ["openvino", "tensorrt"])
def test_other_targets_are_not_timed(load, target):
    loaded = load(thin())
    plan = make_plan(loaded.model, TARGETS[target], "auto")
    assert predicted(loaded.model, plan) is None
    assert not front(load, thin(), target)


def test_what_was_decided_stays_whatever_is_asked_of_the_plan_later(load):
    loaded = load(thin())
    plan = make_plan(loaded.model, TARGETS["ort"], "auto")
    again = plan_again(plan, loaded.model, int16=["mixed"])
    assert [layer.name for layer in again.layers] == ["mixed", "y"]
    never = make_plan(loaded.model, TARGETS["ort"], "auto", settings=NEVER)
    assert len(never.layers) == len(plan_again(never, loaded.model, int16=["mixed"]).layers) == 4


def test_one_layer_stays_in_int8(load):
    b = Builder(1)
    b.conv("x", (1, 8), output="y")
    proto = b.model({"x": [1, 1, 64, 64]}, ["y"])
    assert not front(load, proto)


def test_a_pooling_behind_them_runs_in_float_and_is_rounded_behind(load):
    quantized = Quantized(load(thin(pool=True)))
    assert quantized.plan.quantizers[0].tensors[0] not in {"x", "depthwise"}
    assert "NhwcMaxPool" not in integer_kernels(quantized.exported).values()
    graph = onnx.load_model_from_string(quantized.exported).graph
    (pool,) = (node for node in graph.node if node.op_type == "MaxPool")
    (reader,) = (node for node in graph.node if pool.output[0] in node.input)
    assert reader.op_type == "Max"
    assert quantized.sqnr() > 25


def test_a_pooling_in_float_between_integer_layers_is_told_apart(load):
    """Behind integers it stays on integers: nothing is put between."""
    quantized = Quantized(load(thin(pool=True)), settings=replace(NEVER))
    graph = onnx.load_model_from_string(quantized.exported).graph
    assert "Max" not in {node.op_type for node in graph.node}
