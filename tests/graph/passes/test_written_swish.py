"""HardSwish that is written out of other operators is found, and what is only near it is not."""

import numpy as np
import pytest
from networks import Builder, Quantized, assert_computes_the_same, node_types

from distq.stages.kernels import float_layers


def written(form, opset=13, three=3.0, six=6.0, *, shape=(), read_twice=False):
    """Conv - HardSwish as ``form`` writes it - Conv."""
    b = Builder()
    x = b.conv("x", (4, 4), output="a")

    def number(value):
        return b.constant(np.full(shape, value, np.float32))

    if form == "HardSigmoid":
        gate = b.node("HardSigmoid", x, alpha=1 / six, beta=three / six)
        b.node("Mul", x, gate, output="h")
    else:
        shifted = b.node("Add", number(three), x)
        clip = b.node("Clip", shifted, b.constant(np.float32(0)), b.constant(np.float32(six)))
        match form:
            case "Div last":
                b.node("Div", b.node("Mul", x, clip), number(six), output="h")
            case "Mul last":
                b.node("Mul", number(1 / six), b.node("Mul", clip, x), output="h")
            case "gate first":
                b.node("Mul", x, b.node("Div", clip, number(six)), output="h")
            case "upside down":
                b.node("Div", number(six), b.node("Mul", x, clip), output="h")
        if read_twice:
            b.node("Relu", shifted, output="z")
    b.conv("h", (4, 4), output="y")
    return b.model({"x": [1, 4, 8, 8]}, ["y", *(["z"] if read_twice else [])], opset=opset)


@pytest.mark.parametrize("opset", [13, 17])
@pytest.mark.parametrize("form", ["HardSigmoid", "Div last", "Mul last", "gate first"])
def test_it_is_one_node_that_runs_on_integers(load, form, opset):
    proto = written(form, opset)
    loaded = load(proto)
    assert node_types(loaded) == ["Conv", "HardSwish", "Conv"]
    assert_computes_the_same(loaded, proto)
    quantized = Quantized(loaded)
    assert not list(float_layers(loaded.model, quantized.plan, quantized.exported))
    assert quantized.plan.by_tensor.keys() >= {"a", "h"}


def test_constants_may_have_as_many_dimensions(load):
    assert "HardSwish" in node_types(load(written("gate first", shape=(1, 1, 1, 1))))


@pytest.mark.parametrize(
    "other",
    [
        {"three": 2.0},
        {"six": 5.0},
        {"form": "upside down"},
        {"form": "HardSigmoid", "three": 2.0},
        {"form": "HardSigmoid", "six": 5.0},
        {"read_twice": True},
    ],
)
def test_what_is_near_it_stays(load, other):
    proto = written(**{"form": "Div last", **other})
    loaded = load(proto)
    assert "HardSwish" not in node_types(loaded)
    assert_computes_the_same(loaded, proto)
