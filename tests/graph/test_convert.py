"""Conversion to a newer opset changes nothing that a network computes."""

import numpy as np
import onnx
import pytest
from networks import Builder, assert_computes_the_same, feeds_of, run_literally
from onnx import TensorProto, helper, numpy_helper

from distq.graph.convert import converted

IMAGE = [2, 3, 7, 6]
SCALES = [[2, 2], [1.5, 1.5], [3, 2.5], [1, 1.4]]
SMALLER = [[0.5, 0.5], [0.6, 0.7], [0.5, 2], [0.34, 1]]


def resized(opset, mode, scales):
    b = Builder()
    sizes = [1.0, 1.0, *map(float, scales)]
    if opset < 9:
        b.node("Upsample", "x", output="y", mode=mode, scales=sizes)
    else:
        op = "Upsample" if opset < 10 else "Resize"
        b.node(op, "x", b.constant(np.array(sizes, np.float32)), output="y", mode=mode)
    return b.model({"x": IMAGE}, {"y": [2, 3, None, None]}, opset)


@pytest.mark.parametrize("mode", ["nearest", "linear"])
@pytest.mark.parametrize(
    ("opset", "scales"), [(o, s) for o in (7, 9, 10) for s in (SCALES if o < 10 else SCALES + SMALLER)]
)
def test_a_resize_before_opset_11_takes_the_same_pixels(load, opset, mode, scales):
    proto = resized(opset, mode, scales)
    assert_computes_the_same(load(proto), proto)


@pytest.mark.parametrize("opset", [9, 10])
def test_so_does_one_inside_a_branch(load, opset):
    b = Builder()
    b.constant(np.array([1, 1, 2, 2], np.float32), "scales")
    branches = []
    for name in ("then", "otherwise"):
        node = helper.make_node(
            "Upsample" if opset < 10 else "Resize", ["x", "scales"], [name], mode="linear"
        )
        end = helper.make_tensor_value_info(name, TensorProto.FLOAT, None)
        branches.append(helper.make_graph([node], name, [], [end]))
    condition = b.node("Greater", b.node("ReduceSum", "x", keepdims=0), b.constant(np.float32(0)))
    b.node("If", condition, output="y", then_branch=branches[0], else_branch=branches[1])
    proto = b.model({"x": IMAGE}, {"y": [2, 3, 14, 12]}, opset)
    assert_computes_the_same(load(proto), proto)


@pytest.mark.parametrize("mode", ["constant", "reflect", "edge"])
def test_a_pad_before_opset_11_may_name_a_value_in_any_mode(load, mode):
    b = Builder()
    b.node("Pad", "x", output="y", mode=mode, pads=[0, 0, 1, 2, 0, 0, 2, 1], value=0.5)
    proto = b.model({"x": IMAGE}, {"y": [2, 3, 10, 9]}, 10)
    assert_computes_the_same(load(proto), proto)


@pytest.mark.parametrize("op", ["Softmax", "LogSoftmax", "Hardmax"])
@pytest.mark.parametrize("attributes", [{}, {"axis": 0}, {"axis": 2}, {"axis": 3}])
def test_softmax_and_its_kind_flatten_before_opset_13(load, op, attributes):
    b = Builder()
    b.node(op, "x", output="y", **attributes)
    proto = b.model({"x": IMAGE}, ["y"], 11)
    assert_computes_the_same(load(proto), proto)


@pytest.mark.parametrize("opset", [18, 20])
@pytest.mark.parametrize("more", [{}, {"epsilon": 0.1}])
def test_a_group_normalization_that_was_withdrawn_is_written_out(load, opset, more):
    b = Builder()
    t = b.conv("x", (3, 6))
    b.node("GroupNormalization", t, b.positive(2), b.random(2), output="y", num_groups=2, **more)
    proto = b.model({"x": IMAGE}, {"y": [2, 6, 7, 6]}, opset)
    loaded = load(proto)
    onnx.checker.check_model(onnx.load_model_from_string(loaded.serialized()), full_check=True)
    assert_computes_the_same(loaded, proto)


def test_operators_of_onnx_runtime_are_carried_through_a_conversion(load):
    b = Builder()
    t = b.node("BiasGelu", b.node("MatMul", "x", b.random(4, 4)), b.random(4), domain="com.microsoft")
    b.node("MatMul", t, b.random(4, 2), output="y")
    proto = b.model({"x": [3, 4]}, {"y": [3, 2]}, 11, domains=["com.microsoft"])
    assert_computes_the_same(load(proto), proto)


def test_a_network_at_the_opset_stays_the_object_it_is():
    proto = resized(10, "nearest", [2, 2])
    assert converted(proto, 10) is proto
    tensor = numpy_helper.to_array(proto.graph.initializer[0])
    newer = converted(proto, 13)
    np.testing.assert_array_equal(numpy_helper.to_array(proto.graph.initializer[0]), tensor)
    assert list(run_literally(newer, feeds_of(proto))) == ["y"]


@pytest.mark.parametrize("opset", [9, 13, 18])
@pytest.mark.parametrize("attributes", [{}, {"axes": [1, 2, 3]}])
def test_shapes_are_known_behind_a_mean_variance_normalization(load, opset, attributes):
    b = Builder()
    b.conv(b.node("MeanVarianceNormalization", "x", **attributes), (3, 4), output="y")
    proto = b.model({"x": IMAGE}, {"y": [2, 4, 7, 6]}, opset)
    loaded = load(proto)
    onnx.checker.check_model(onnx.load_model_from_string(loaded.serialized()), full_check=True)
    assert list(loaded.model.graph.outputs[0].shape) == [2, 4, 7, 6]
    assert_computes_the_same(loaded, proto)


@pytest.mark.parametrize("op", ["Softmax", "LogSoftmax", "Hardmax"])
def test_what_a_branch_reads_can_be_converted(load, op):
    b = Builder()
    b.node(op, "x", output="a", axis=1)
    nodes = [helper.make_node("Neg", ["a"], ["then"]), helper.make_node("Abs", ["a"], ["otherwise"])]
    ends = [helper.make_tensor_value_info(node.output[0], TensorProto.FLOAT, None) for node in nodes]
    then, otherwise = (
        helper.make_graph([node], "branch", [], [end]) for node, end in zip(nodes, ends, strict=True)
    )
    condition = b.node("Greater", b.node("ReduceSum", "x", keepdims=0), b.constant(np.float32(0)))
    b.node("If", condition, output="y", then_branch=then, else_branch=otherwise)
    proto = b.model({"x": IMAGE}, {"y": IMAGE}, 12)
    assert_computes_the_same(load(proto), proto)
