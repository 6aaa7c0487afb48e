"""Operations that exporters write as many nodes stay one float operation between two quantizers."""

import numpy as np
import pytest
from networks import Builder, Quantized

from distq.graph.placement import make_plan
from distq.targets.ort import ORT

CHANNELS = 8


def number(b, value):
    return b.constant(np.float32(value))


def layer_norm(b, x, squared):
    centred = b.node("Sub", x, b.node("ReduceMean", x, axes=[1]))
    variance = b.node("ReduceMean", squared(b, centred), axes=[1])
    spread = b.node("Sqrt", b.node("Add", variance, number(b, 1e-5)))
    normal = b.node("Div", centred, spread)
    return b.node("Add", b.node("Mul", normal, b.positive(CHANNELS, 1, 1)), b.random(CHANNELS, 1, 1))


def layer_norm_by_power(b, x):
    return layer_norm(b, x, lambda b, v: b.node("Pow", v, number(b, 2)))


def layer_norm_by_product(b, x):
    return layer_norm(b, x, lambda b, v: b.node("Mul", v, v))


def l2_norm(b, x):
    """As Keras writes it: the inverse of the length, made as large as the tensor."""
    power = b.node("ReduceSum", b.node("Mul", x, x), b.constant(np.array([1])))
    length = b.node("Sqrt", b.node("Max", power, number(b, 1e-12)))
    inverse = b.node("Reshape", b.node("Reciprocal", length), b.constant([1, 1, 8, 8]))
    return b.node("Mul", x, b.node("Expand", inverse, b.constant([1, CHANNELS, 8, 8])))


def rms_norm(b, x):
    power = b.node("ReduceMean", b.node("Mul", x, x), axes=[1])
    root = b.node("Sqrt", b.node("Add", power, number(b, 1e-6)))
    return b.node("Mul", b.node("Mul", x, b.node("Reciprocal", root)), b.positive(CHANNELS, 1, 1))


def gelu(b, x):
    erf = b.node("Erf", b.node("Div", x, number(b, 2**0.5)))
    return b.node("Mul", b.node("Mul", x, b.node("Add", erf, number(b, 1))), number(b, 0.5))


def gelu_of_halves(b, x):
    erf = b.node("Erf", b.node("Mul", x, number(b, 2**-0.5)))
    return b.node("Mul", b.node("Mul", x, number(b, 0.5)), b.node("Add", erf, number(b, 1)))


def gelu_by_tanh(b, x):
    cube = b.node("Mul", b.node("Mul", x, x), x)
    inner = b.node("Add", x, b.node("Mul", cube, number(b, 0.044715)))
    tanh = b.node("Tanh", b.node("Mul", inner, number(b, (2 / np.pi) ** 0.5)))
    return b.node("Mul", b.node("Mul", x, number(b, 0.5)), b.node("Add", tanh, number(b, 1)))


def hard_swish(b, x):
    gate = b.node("Clip", b.node("Add", x, number(b, 3)), number(b, 0), number(b, 6))
    return b.node("Div", b.node("Mul", x, gate), number(b, 6))


def quick_gelu(b, x):
    return b.node("Mul", x, b.node("Sigmoid", b.node("Mul", x, number(b, 1.702))))


def mish(b, x):
    return b.node("Mul", x, b.node("Tanh", b.node("Softplus", x)))


OPERATIONS = [layer_norm_by_power, layer_norm_by_product, l2_norm, rms_norm, gelu, gelu_of_halves]
OPERATIONS += [gelu_by_tanh, hard_swish, quick_gelu, mish]


def between_convs(operation):
    b = Builder(1)
    h = operation(b, b.conv("x", (4, CHANNELS), output="before"))
    b.conv(b.node("MaxPool", h, kernel_shape=[2, 2]), (CHANNELS, 3), output="y")
    return b.model({"x": [1, 4, 8, 8]}, ["y"])


@pytest.mark.parametrize("operation", OPERATIONS, ids=lambda f: f.__name__)
def test_an_operation_of_many_nodes_has_a_quantizer_at_each_end_and_none_inside(load, operation):
    network = Quantized(load(between_convs(operation)))
    assert len(network.plan.quantizers) == 4  # x; both sides of the operation; y
    assert network.plan.quantizers[1].tensors == ("before",)
    assert network.sqnr() > 28


@pytest.mark.parametrize("scheme", ["auto", "symmetric"])
def test_a_group_is_quantized_at_its_ends_with_a_symmetric_range_too(load, scheme):
    assert Quantized(load(between_convs(gelu_of_halves)), scheme=scheme).sqnr() > 28


def gated_by_pooling(b, x):
    """Squeeze and excitation: layers are inside, so it is none."""
    pooled = b.node("GlobalAveragePool", x)
    gate = b.node("HardSigmoid", b.conv(pooled, (CHANNELS, CHANNELS), kernel=1))
    return b.node("Mul", x, gate, output="product")


def gated_by_its_mean(b, x):
    return b.node("Mul", x, b.node("HardSigmoid", b.node("GlobalAveragePool", x)), output="product")


def two_poolings(b, x):
    a = b.node("MaxPool", x, kernel_shape=[3, 3], pads=[1] * 4)
    c = b.node("AveragePool", x, kernel_shape=[3, 3], pads=[1] * 4)
    return b.node("Add", a, c, output="product")


def residual(b, x):
    return b.node("Add", x, b.conv(x, (CHANNELS, CHANNELS)), output="product")


@pytest.mark.parametrize("operation", [gated_by_pooling, gated_by_its_mean, two_poolings, residual])
def test_what_integer_kernels_compute_stays_on_integers(load, operation):
    plan = make_plan(load(between_convs(operation)).model, ORT, "auto")
    assert "product" in plan.by_tensor
    assert not [why for _, why in plan.float_nodes if "one operation" in why]
