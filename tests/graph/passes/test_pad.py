import numpy as np
import pytest
from networks import Builder, Quantized, assert_computes_the_same

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
    b.conv(t, (4, 3), output="y")
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
