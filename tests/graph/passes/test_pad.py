import numpy as np
import pytest
from networks import Builder, Quantized, assert_computes_the_same, node_types

IMAGE = [1, 4, 6, 6]


@pytest.mark.parametrize(
    ("axes", "pads"), [([2, 3], [1, 0, 2, 1]), ([-1], [1, 2]), ([3, 1], [1, 0, 0, 0]), ([0, 3], [0, 0, 0, 1])]
)
@pytest.mark.parametrize("value", [True, False])
def test_pads_of_some_axes_are_written_out_for_all(load, axes, pads, value):
    b = Builder()
    t = b.conv("x", (4, 4))
    fill = b.constant(np.float32(0.5)) if value else ""
    t = b.node("Pad", t, b.constant(np.array(pads)), fill, b.constant(np.array(axes)))
    b.conv(b.node("Relu", t), (4, 3), output="y")
    proto = b.model({"x": IMAGE}, ["y"], 18)
    loaded = load(proto)
    pad = next(node for node in loaded.model.graph if node.op_type == "Pad")
    assert len([v for v in pad.inputs if v is not None]) == 2 + value
    assert pad.inputs[1].const_value.numpy().size == 8
    assert_computes_the_same(loaded, proto)
    assert Quantized(loaded).sqnr() > 25


def test_axes_that_are_computed_stay(load):
    b = Builder()
    b.node("Pad", "x", b.constant(np.array([1, 1])), "", "axes", output="y")
    proto = b.model({"x": IMAGE, "axes": [1]}, {"y": [1, 4, 6, None]}, 18)
    proto.graph.input[1].type.tensor_type.elem_type = 7
    pad = load(proto).model.graph[0]
    assert pad.inputs[3].name == "axes"


def padded(around, value=None, opset=13, axes=None, mode="constant", **attributes):
    """Conv - Pad - Conv."""
    b = Builder()
    given = [b.constant(np.array(around))]
    if value is not None or axes is not None:
        given.append("" if value is None else b.constant(np.float32(value)))
    if axes is not None:
        given.append(b.constant(np.array(axes)))
    t = b.node("Pad", b.conv("x", (4, 4)), *given, output="h", mode=mode)
    b.node("Conv", t, b.random(3, 4, 3, 3), b.random(3), output="y", **attributes)
    return b.model({"x": IMAGE}, ["y"], opset)


@pytest.mark.parametrize(
    "proto",
    [
        padded([0, 0, 1, 0, 0, 0, 2, 1]),
        padded([0, 0, 1, 0, 0, 0, 2, 1], 0.0, pads=[1, 0, 0, 1], strides=[2, 2]),
        padded([0, 0, 0, 0, 0, 0, 1, 1], auto_pad="VALID", strides=[2, 2]),
        padded([1, 2, 0, 3], opset=18, axes=[3, 2], dilations=[2, 1]),
    ],
)
def test_zeros_in_front_of_a_convolution_are_its_pads(load, proto):
    loaded = load(proto)
    assert node_types(loaded) == ["Conv", "Conv"]
    assert_computes_the_same(loaded, proto)
    assert Quantized(loaded).sqnr() > 25


@pytest.mark.parametrize(
    "proto",
    [
        padded([0, 0, 1, 1, 0, 0, 1, 1], 0.5),
        padded([0, 0, 1, 1, 0, 0, 1, 1], mode="reflect"),
        padded([0, 0, -1, 1, 0, 0, 1, 1]),
        padded([1, 0, 1, 1, 0, 0, 1, 1]),
        padded([0, 0, 1, 1, 0, 0, 1, 1], auto_pad="SAME_UPPER"),
    ],
)
def test_other_pads_stay(load, proto):
    loaded = load(proto)
    assert node_types(loaded) == ["Conv", "Pad", "Conv"]
    assert_computes_the_same(loaded, proto)


def test_zeros_that_another_node_reads_too_stay(load):
    b = Builder()
    t = b.node("Pad", b.conv("x", (4, 4)), b.constant(np.array([0, 0, 1, 1, 0, 0, 1, 1])))
    b.node("Add", b.conv(t, (4, 4)), t, output="y")
    assert "Pad" in node_types(load(b.model({"x": IMAGE}, ["y"])))
