import numpy as np
import pytest
from networks import Builder, Quantized
from zoo import NETWORKS, between, branched, clipped, concat, relu

from distq.errors import ModelError, UsageError
from distq.graph.placement import make_plan
from distq.graph.resolve import resolve_names
from distq.targets import find_target

IMAGE = [1, 4, 8, 8]


def plan_of(loaded, target="ort", scheme="auto", **options):
    return make_plan(loaded.model, find_target(target), scheme, **options)


def groups(plan):
    return [set(q.tensors) for q in plan.quantizers]


def test_with_ort_every_tensor_between_integer_kernels_has_a_quantizer(load):
    plan = plan_of(load(NETWORKS["SiLU"]()))
    assert [q.name for q in plan.quantizers] == ["x", "a", "a_gate", "h", "y"]
    plan = plan_of(load(NETWORKS["Relu"]()))
    assert [q.name for q in plan.quantizers] == ["x", "h", "y"]


def test_with_openvino_only_what_layers_read_has_one(load):
    assert [q.name for q in plan_of(load(NETWORKS["SiLU"]()), "openvino").quantizers] == ["x", "h"]
    plan = plan_of(load(NETWORKS["Add"]()), "openvino")
    assert [q.name for q in plan.quantizers] == ["x", "r"]
    assert not plan.dropped


def test_a_relu_that_saturation_implies_is_dropped_in_auto_alone(load):
    loaded = load(NETWORKS["Add"]())
    assert plan_of(loaded).dropped == {"Relu_r"}
    assert not plan_of(loaded, scheme="symmetric").dropped
    assert plan_of(load(clipped())).dropped == {"Clip_h"}


@pytest.mark.parametrize("name", ["Clip(-1, 1)", "Mul"])
def test_a_clip_below_zero_and_a_relu_behind_a_float_like_node_stay(load, name):
    assert not plan_of(load(NETWORKS[name]())).dropped


def test_symmetric_gives_a_relus_input_the_quantizer_of_its_output(load):
    plan = plan_of(load(NETWORKS["Relu"]()), scheme="symmetric")
    assert groups(plan) == [{"x"}, {"a", "h"}, {"y"}]
    assert plan.by_tensor["a"].name == "h"


@pytest.mark.parametrize(
    "proto",
    [
        between("MaxPool", kernel_shape=[2, 2]),
        between("Transpose", perm=[0, 1, 3, 2]),
        between("Reshape", lambda b: b.constant([1, 4, 4, 16])),
        between("Slice", *[lambda b, v=v: b.constant([v]) for v in (2, 8, 2)]),
        NETWORKS["Resize, nearest"](),
        NETWORKS["Resize, linear"](),
    ],
)
def test_operators_that_pass_values_on_tie_their_output_to_their_input(load, proto):
    loaded = load(proto)
    assert groups(plan_of(loaded)) == [{"x"}, {"a", "h"}, {"y"}]
    assert groups(plan_of(loaded, tie=False)) == [{"x"}, {"a"}, {"h"}, {"y"}]


def test_an_average_has_a_range_of_its_own(load):
    assert groups(plan_of(load(NETWORKS["AveragePool"]()))) == [{"x"}, {"a"}, {"h"}, {"y"}]


def test_inputs_of_a_concat_share_its_quantizer_where_their_bounds_are_alike(load):
    plan = plan_of(load(concat(relu, relu)))
    assert len(plan.quantizers) == 3
    tied = plan.by_tensor["h"]
    assert len(tied.tensors) == 3
    assert (tied.name, tied.non_negative) == ("h", True)


def test_inputs_of_a_concat_of_other_bounds_keep_their_own(load):
    plan = plan_of(load(concat(relu, lambda _, t: t)))
    assert len(plan.quantizers) == 5
    assert not plan.by_tensor["h"].non_negative


def test_an_input_of_a_concat_that_others_read_too_keeps_its_own(load):
    b = Builder()
    a, c = relu(b, b.conv("x", (4, 4)), "a"), relu(b, b.conv("x", (4, 4)), "c")
    b.conv(b.node("Concat", a, c, output="h", axis=1), (8, 3), output="y")
    b.conv(a, (4, 3), output="z")
    plan = plan_of(load(b.model({"x": IMAGE}, ["y", "z"])))
    assert groups(plan) == [{"x"}, {"a"}, {"c", "h"}, {"y"}, {"z"}]


def test_a_concat_of_a_network_input_and_one_that_is_an_output_are_not_tied(load):
    b = Builder()
    a = b.conv("x", (4, 4), output="a")
    b.node("Concat", a, "x", b.conv("x", (4, 4), output="c"), output="h", axis=1)
    b.conv("h", (12, 3), output="y")
    plan = plan_of(load(b.model({"x": IMAGE}, ["y", "a"])))
    assert groups(plan) == [{"x"}, {"a"}, {"c", "h"}, {"y"}]


def test_nested_concats_are_named_after_the_last(load):
    b = Builder()
    inner = b.node("Concat", b.conv("x", (4, 4)), b.conv("x", (4, 4)), output="inner", axis=1)
    pooled = b.node("MaxPool", inner, output="pooled", kernel_shape=[3, 3], pads=[1] * 4)
    b.node("Concat", pooled, b.conv("x", (4, 4)), output="outer", axis=1)
    b.conv("outer", (12, 3), output="y")
    plan = plan_of(load(b.model({"x": IMAGE}, ["y"])))
    assert plan.by_tensor["inner"] == plan.by_tensor["outer"]
    assert plan.by_tensor["inner"].name == "outer"


@pytest.mark.parametrize("target", ["ort", "openvino"])
def test_a_clip_caps_the_range_at_its_bound(load, target):
    quantized = Quantized(load(clipped()), target)
    row = quantized.table["h"]
    assert (row.min, row.max, row.zero_point) == (0.0, 6.0, 0)
    assert quantized.plan.by_tensor["h"].cap == 6.0


def test_a_cap_is_passed_on_through_pooling_and_concat(load):
    b = Builder()
    parts = [
        b.node("Clip", b.conv("x", (4, 4)), b.constant(np.float32(0)), b.constant(np.float32(6)))
        for _ in range(2)
    ]
    pooled = b.node("MaxPool", b.node("Concat", *parts, axis=1), output="p", kernel_shape=[2, 2])
    b.conv(pooled, (8, 3), output="y")
    for target in ("ort", "openvino"):
        quantizer = plan_of(load(b.model({"x": IMAGE}, ["y"])), target).by_tensor["p"]
        assert (quantizer.cap, quantizer.non_negative) == (6.0, True)


def test_inputs_and_bounded_activations_keep_their_whole_range(load):
    plan = plan_of(load(NETWORKS["Sigmoid"]()))
    assert {q.name for q in plan.quantizers if q.keep_range} == {"x", "h"}


def test_layers_and_quantizers_come_in_graph_order_every_time(load):
    loaded = load(branched())
    plan = plan_of(loaded)
    assert plan == plan_of(loaded)
    order = ["x", *(v.name for node in loaded.model.graph for v in node.outputs)]
    for plan in (plan_of(loaded), plan_of(loaded, "openvino"), plan_of(loaded, tie=False)):
        starts = [order.index(q.tensors[0]) for q in plan.quantizers]
        assert starts == sorted(starts)
        assert all(
            [*map(order.index, q.tensors)] == sorted(map(order.index, q.tensors)) for q in plan.quantizers
        )
        positions = [order.index(layer.output) for layer in plan.layers]
        assert positions == sorted(positions)


def test_no_tensor_has_two_quantizers(load):
    for options in ({}, {"scheme": "symmetric"}, {"target": "openvino"}, {"tie": False}):
        found = [t for q in plan_of(load(branched()), **options).quantizers for t in q.tensors]
        assert len(set(found)) == len(found)


def islands(loaded, target="ort"):
    return dict(plan_of(loaded, target).float_nodes)


def test_what_runs_before_the_first_layer_and_behind_the_last_stays_float(load):
    b = Builder()
    scaled = b.node("Mul", "x", b.constant(np.float32(1 / 255)), output="scaled")
    b.node(
        "Exp",
        b.node("MaxPool", b.conv(scaled, (4, 4), output="a"), output="p", kernel_shape=[2, 2]),
        output="y",
    )
    found = islands(load(b.model({"x": IMAGE}, ["y"])))
    assert list(found) == ["scaled", "p", "y"]
    assert "before the first" in found["scaled"]
    assert "behind the last" in found["p"]


@pytest.mark.parametrize(
    ("name", "tensor", "reason"),
    [
        ("Exp", "h", "Exp"),
        ("Softmax", "h", "Softmax"),
        ("HardSigmoid", "h", "HardSigmoid"),
        ("Resize, cubic", "h_resized", "cubic"),
    ],
)
def test_an_island_in_the_middle_names_its_reason(load, name, tensor, reason):
    made = NETWORKS.get(name, lambda: between(name))()
    assert reason in islands(load(made))[tensor]


def test_an_operator_of_another_domain_is_an_island(load):
    b = Builder()
    t = b.node("Gelu", b.conv("x", (4, 4)), output="h", domain="com.microsoft")
    b.conv(t, (4, 3), output="y")
    proto = b.model({"x": IMAGE}, {"y": [1, 3, 8, 8]}, domains=["com.microsoft"])
    assert "com.microsoft" in islands(load(proto))["h"]


def test_shape_arithmetic_is_no_island_of_its_own(load):
    assert not islands(load(NETWORKS["symbolic batch"]()))


def test_a_relu_that_a_kernel_takes_in_is_not_listed(load):
    assert not islands(load(NETWORKS["Relu"]()))


def test_a_model_without_a_layer_is_refused(load):
    b = Builder()
    b.node("Relu", "x", output="y")
    loaded = load(b.model({"x": IMAGE}, ["y"]))
    with pytest.raises(ModelError, match="Conv, ConvTranspose, Gemm or MatMul"):
        plan_of(loaded)


@pytest.mark.parametrize("tensor", ["a", "h"])
def test_16_bits_of_a_tied_tensor_go_to_all_that_share_its_quantizer(load, tensor):
    plan = plan_of(load(NETWORKS["MaxPool"]()), int16=[tensor])
    assert [q.bits for q in plan.quantizers] == [8, 16, 8]
    assert plan.opset == 21


def test_only_quantizes_what_is_named_and_leaves_the_rest_float(load):
    plan = plan_of(load(NETWORKS["Add"]()), tie=False, only=["x", "t0"])
    assert [layer.output for layer in plan.layers] == ["t0"]
    assert [q.name for q in plan.quantizers] == ["x", "t0"]


@pytest.mark.parametrize(
    ("target", "name"),
    [("ort", "SiLU"), ("ort", "MatMul of two tensors"), ("openvino", "MatMul of two tensors")],
)
def test_every_quantizer_of_a_plan_is_in_the_part_up_to_it(load, target, name):
    loaded = load(NETWORKS[name]())
    order = [q.name for q in plan_of(loaded, target, tie=False).quantizers]
    for count in range(1, len(order) + 1):
        part = plan_of(loaded, target, tie=False, only=order[:count])
        assert {q.name for q in part.quantizers} >= set(order[:count])
        assert all(not part.by_tensor.keys().isdisjoint(layer.inputs) for layer in part.layers)


@pytest.mark.parametrize(
    ("name", "found"),
    [("h", "h"), ("y", "y"), ("a", "h"), ("Conv_a", "h"), ("Relu_h", "h"), ("Conv_y", "y"), ("x", "x")],
)
def test_a_layer_is_known_by_its_tensor_its_node_or_its_relu(load, name, found):
    loaded = load(NETWORKS["Relu"]())
    assert resolve_names(loaded.model, plan_of(loaded), [name], "--layers") == (found,)


def test_a_layer_named_twice_counts_once(load):
    loaded = load(NETWORKS["Relu"]())
    assert resolve_names(loaded.model, plan_of(loaded), ["y", "Conv_y", "h"], "--layers") == ("y", "h")


def test_an_unknown_layer_is_answered_with_the_nearest(load):
    loaded = load(branched())
    with pytest.raises(UsageError, match=r"--layers names residul,.* residual$"):
        resolve_names(loaded.model, plan_of(loaded), ["residul"], "--layers")
