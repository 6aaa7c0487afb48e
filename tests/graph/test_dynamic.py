"""Outputs whose shape depends on the data are compared in front of what makes their shape."""

import numpy as np
import onnx
import pytest
from networks import Builder
from onnx import TensorProto, helper

from distq.graph.compared import compared_tensors
from distq.graph.dynamic import feeding_outputs_of_dynamic_shape
from distq.graph.heads import Place, parts, reported, with_places
from distq.graph.placement import make_plan
from distq.targets.ort import ORT

IMAGE = [1, 4, 8, 8]


def integers(b, *values):
    return b.constant(np.array(values, np.int64))


def head(b):
    return b.node("Relu", b.conv("x", (4, 6)), output="head")


def chosen(b):
    """Places of the head that are above zero."""
    return b.node("NonZero", head(b), name="chooser")


def top(b):
    """As many of the largest as there are elements above zero."""
    flat = b.node("Flatten", head(b))
    count = b.node("Cast", b.node("ReduceSum", b.node("Sign", flat), keepdims=0), to=7)
    k = b.node("Reshape", b.node("Min", count, integers(b, 20)), integers(b, 1))
    return b.node("TopK", flat, k, outputs=2, name="chooser")


def repeated(b):
    """Each as often as a computed number says."""
    flat = b.node("Flatten", head(b))
    times = b.node("Cast", b.node("ReduceMax", flat, keepdims=0), to=7)
    one = b.node("Reshape", b.node("Max", times, integers(b, 1)), integers(b, 1))
    return b.node("Tile", flat, b.node("Concat", integers(b, 1), one, axis=0), name="chooser")


@pytest.mark.parametrize(("build", "positions"), [(chosen, [0]), (top, [0, 1]), (repeated, [0, 1])])
def test_what_makes_a_shape_of_values_is_found_behind_other_nodes(load, build, positions):
    b = Builder()
    b.node("Abs", b.node("Cast", build(b), to=1), output="y")
    model = load(b.model({"x": IMAGE}, ["y", "head"])).model
    places = [Place("chooser", position) for position in positions]
    assert reported(model) == (*places, Place(None, 1))
    assert parts(model, make_plan(model, ORT, "auto")) == (*places, Place(None, 1))


def of_its_shape(b):
    """Reshaped by the shape of another tensor, which follows from the network's input alone."""
    x = head(b)
    return b.node("Reshape", x, b.node("Shape", b.node("Transpose", x, perm=[0, 2, 3, 1])))


def counted(b):
    """A number whose shape does not depend on how many there are."""
    found = b.node("Cast", chosen(b), to=1)
    return b.node("Reshape", b.node("ReduceSum", found, keepdims=0), integers(b, 1))


OPEN = ["batch", "height", "width", "channels"]


@pytest.mark.parametrize(("build", "shape"), [(head, OPEN), (of_its_shape, OPEN), (counted, [1])])
def test_other_outputs_are_compared_themselves(load, build, shape):
    b = Builder()
    b.node("Abs", build(b), output="y")
    model = load(b.model({"x": ["batch", *IMAGE[1:]]}, {"y": shape})).model
    assert feeding_outputs_of_dynamic_shape(model) == {}
    assert reported(model) == ()


def branched(b, data, then, otherwise):
    """An If on the sum of x, one node in each branch."""
    condition = b.node("Greater", b.node("ReduceSum", "x", keepdims=0), b.constant(np.float32(0)))
    branches = [
        helper.make_graph(
            [helper.make_node(op, [data], [f"{op} out"], **more)], op, [],
            [helper.make_tensor_value_info(f"{op} out", TensorProto.FLOAT, None)],
        )
        for op, more in (then, otherwise)
    ]  # fmt: skip
    b.node("If", condition, output="y", name="chooser", then_branch=branches[0], else_branch=branches[1])


def test_an_if_whose_branches_have_one_shape_is_compared_itself(load):
    b = Builder()
    branched(b, head(b), ("Neg", {}), ("Abs", {}))
    model = load(b.model({"x": ["batch", *IMAGE[1:]]}, {"y": OPEN})).model
    assert reported(model) == ()


def test_another_if_is_compared_by_what_its_branches_read(load):
    b = Builder()
    branched(b, head(b), ("Neg", {}), ("Flatten", {}))
    proto = b.model({"x": IMAGE}, {"y": None})
    loaded = load(proto)
    assert reported(loaded.model) == (Place("chooser", 0), Place("chooser", 1))
    compared = onnx.load_model_from_string(with_places(loaded.serialized(), reported(loaded.model)))
    assert [value.name for value in compared.graph.output][1:] == ["head"]
    assert compared_tensors(loaded.model) == [value.name for value in compared.graph.output]
