"""HardSwish as exporters write it becomes the operator."""

import numpy as np
import pytest
from networks import Builder, Quantized, assert_computes_the_same, node_types

from distq.stages.kernels import integer_kernels


def number(b, value):
    return b.constant(np.float32(value))


def clipped(b, x, shift=3, top=6):
    return b.node("Clip", b.node("Add", x, number(b, shift)), number(b, 0), number(b, top))


def divided(b, x):
    return b.node("Div", b.node("Mul", x, clipped(b, x)), number(b, 6))


def multiplied(b, x):
    return b.node("Mul", number(b, 1 / 6), b.node("Mul", clipped(b, x), x))


def gate_divided(b, x):
    return b.node("Mul", x, b.node("Div", clipped(b, x), number(b, 6)))


def by_hard_sigmoid(b, x):
    return b.node("Mul", x, b.node("HardSigmoid", x, alpha=1 / 6, beta=0.5))


WRITTEN = [divided, multiplied, gate_divided, by_hard_sigmoid]


def of_another_slope(b, x):
    return b.node("Mul", x, b.node("HardSigmoid", x, alpha=0.2, beta=0.5))


def shifted_by_two(b, x):
    return b.node("Div", b.node("Mul", x, clipped(b, x, shift=2)), number(b, 6))


def of_other_width(b, x):
    return b.node("Div", b.node("Mul", x, clipped(b, x, top=5)), number(b, 6))


def of_another_tensor(b, x):
    other = b.conv(x, (4, 4))
    return b.node("Div", b.node("Mul", other, clipped(b, x)), number(b, 6))


def read_inside(b, x):
    gate = clipped(b, x)
    return b.node("Add", b.node("Div", b.node("Mul", x, gate), number(b, 6)), gate)


def divided_by_itself(b, x):
    return b.node("Div", number(b, 6), b.node("Mul", x, clipped(b, x)))


OTHERS = [of_another_slope, shifted_by_two, of_other_width, of_another_tensor, read_inside, divided_by_itself]


def between_convs(operation):
    b = Builder(1)
    b.conv(operation(b, b.conv("x", (4, 4))), (4, 3), output="y")
    return b.model({"x": [1, 4, 8, 8]}, ["y"])


@pytest.mark.parametrize("operation", WRITTEN, ids=lambda f: f.__name__)
def test_each_form_becomes_hardswish_and_runs_on_integers(load, operation):
    proto = between_convs(operation)
    loaded = load(proto)
    assert node_types(loaded) == ["Conv", "HardSwish", "Conv"]
    assert_computes_the_same(loaded, proto)
    assert {"QLinearAdd", "QLinearMul"} <= set(integer_kernels(Quantized(loaded).exported).values())


@pytest.mark.parametrize("operation", OTHERS, ids=lambda f: f.__name__)
def test_what_computes_something_else_stays(load, operation):
    loaded = load(between_convs(operation))
    assert "HardSwish" not in node_types(loaded)
