import numpy as np
import pytest
from networks import Builder, Quantized, assert_computes_the_same, node_types

from distq.stages.kernels import integer_kernels

IMAGE = [1, 4, 8, 8]


def number(b, value):
    return b.constant(np.float32(value))


def between(middle, behind="Conv"):
    """Conv - MaxPool - some nodes - Conv."""
    b = Builder(1)
    h = middle(b, b.node("MaxPool", b.conv("x", (4, 4)), kernel_shape=[2, 2]))
    if behind == "Conv":
        b.conv(h, (4, 3), output="y")
    else:
        b.conv(b.node(behind, h), (4, 3), output="y")
    return b.model({"x": IMAGE}, ["y"])


def summed(b, a):
    return b.node("Sum", a, b.conv(a, (4, 4)), output="h")


PLAIN = {
    "Sum": (summed, {"QLinearAdd"}),
    "Sub": (lambda b, a: b.node("Sub", a, number(b, 0.3)), {"QLinearAdd"}),
    "Div": (lambda b, a: b.node("Div", a, number(b, -3)), {"QLinearMul"}),
}


@pytest.mark.parametrize("scheme", ["auto", "symmetric"])
@pytest.mark.parametrize("kind", PLAIN)
def test_arithmetic_between_integer_kernels_becomes_add_and_mul(load, kind, scheme):
    middle, kernels = PLAIN[kind]
    proto = between(middle)
    loaded = load(proto)
    assert {"Sum", "Sub", "Div"}.isdisjoint(node_types(loaded))
    assert_computes_the_same(loaded, proto)
    quantized = Quantized(loaded, scheme=scheme)
    assert kernels <= set(integer_kernels(quantized.exported).values())
    assert quantized.sqnr() > 25


@pytest.mark.parametrize(
    ("op", "middle"),
    [
        ("Sub", lambda b, a: b.node("Sub", number(b, 0.3), a)),
        ("Sub", lambda b, a: b.node("Sub", a, b.conv(a, (4, 4)))),
        ("Sub", lambda b, a: b.node("Sub", b.node("Exp", a), number(b, 0.3))),
        ("Div", lambda b, a: b.node("Div", number(b, 0.3), b.node("Exp", a))),
        ("Div", lambda b, a: b.node("Div", a, number(b, 1e-40))),
        ("Sum", lambda b, a: b.node("Sum", a, b.conv(a, (4, 4)), b.conv(a, (4, 4)))),
    ],
)
def test_what_would_not_run_on_integers_or_lose_by_it_stays(load, op, middle):
    assert op in node_types(load(between(middle)))


def test_arithmetic_read_in_float_stays(load):
    def middle(b, a):
        return b.node("Div", a, number(b, 3))

    assert "Div" in node_types(load(between(middle, "Erf")))
