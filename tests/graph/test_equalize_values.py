"""Channels of an attention's values are evened out into the layers in front of it and behind it."""

import numpy as np
import onnx_ir as ir
import pytest
from networks import SETTINGS, Builder

from distq.graph.equalize import equalized, sites
from distq.graph.placement import make_plan
from distq.replica.session import Session
from distq.targets import find_target

FORMS = ("apart", "split", "sliced", "gathered")


def linear(b, x, inputs, outputs, **names):
    product = b.node("MatMul", x, b.random(inputs, outputs, scale=inputs**-0.5))
    return b.node("Add", product, b.random(outputs), **names)


def heads_of(b, x, form, heads, size):
    """Query, key and value, (batch, heads, length, size) each, as exporters write them."""
    width = heads * size
    if form == "apart":
        sizes = b.constant([0, -1, heads, size])
        parts = [b.node("Reshape", linear(b, x, width, width), sizes) for _ in range(3)]
        return [b.node("Transpose", part, perm=[0, 2, 1, 3]) for part in parts]
    both = linear(b, x, width, 3 * width)
    if form == "split":
        b.node("Split", both, axis=-1, output="part", outputs=3, num_outputs=3)
        sizes = b.constant([0, -1, heads, size])
        parts = [b.node("Reshape", name, sizes) for name in ("part", "part_1", "part_2")]
        return [b.node("Transpose", part, perm=[0, 2, 1, 3]) for part in parts]
    parted = b.node("Reshape", both, b.constant([0, -1, 3, heads, size]))
    ordered = b.node("Transpose", parted, perm=[2, 0, 3, 1, 4])
    if form == "gathered":
        return [b.node("Gather", ordered, b.constant(i), axis=0) for i in range(3)]
    bounds = [[b.constant([n]) for n in (i, i + 1, 0)] for i in range(3)]
    return [b.node("Squeeze", b.node("Slice", ordered, *cut), b.constant([0])) for cut in bounds]


def attention(form, sizes, heads, size, *, mixed=True, seen=False):
    """An attention and a layer; not ``mixed``: rows change places with channels; ``seen``: others read V."""
    b = Builder(len(form) + size)
    width = heads * size
    query, key, value = heads_of(b, "x", form, heads, size)
    scores = b.node("MatMul", query, b.node("Transpose", key, perm=[0, 1, 3, 2]))
    shares = b.node("Softmax", b.node("Mul", scores, b.constant(np.float32(size**-0.5))), axis=-1)
    means = b.node("MatMul", shares, value, output="means")
    joined = b.node("Transpose", means, perm=[0, 2, 1, 3]) if mixed else means
    rows = b.node("Reshape", joined, b.constant([0, -1, width]), output="rows")
    linear(b, rows, width, 5, output="y")
    outputs = ["y"]
    if seen:
        b.node("Relu", value, output="other")
        outputs.append("other")
    return b.model({"x": [*sizes, width]}, outputs, opset=18)


def found_in(model, target):
    return [site for site in sites(model, make_plan(model, find_target(target), "auto")) if site.columns]


def run(model, x):
    return Session(bytes(ir.to_proto(model).SerializeToString()), SETTINGS).run({"x": x})


@pytest.mark.parametrize("target", ["ort", "openvino", "tensorrt"])
@pytest.mark.parametrize("form", FORMS)
def test_factors_change_nothing_but_the_values(load, form, target):
    random = np.random.default_rng(len(form))
    sizes, heads, size = (
        (1, int(random.integers(2, 6))),
        int(random.integers(1, 4)),
        int(random.integers(2, 5)),
    )
    model = load(attention(form, sizes, heads, size)).model
    (site,) = found_in(model, target)
    width = heads * size
    first = 0 if form == "apart" else 2 * width
    assert sorted(site.columns) == list(range(first, first + width))
    factors = random.uniform(0.05, 1, width)
    other = equalized(model, {site: factors})
    x = random.standard_normal((*sizes, width)).astype(np.float32)
    for before, after in zip(run(model, x), run(other, x), strict=True):
        np.testing.assert_allclose(after, before, rtol=1e-4, atol=1e-4)
    assert [n.op_type for n in other.graph] == [n.op_type for n in model.graph], "nothing is inserted"


def test_columns_follow_the_order_of_the_rows_in_front_of_the_projection(load):
    """Each quantized tensor is its old self divided by the factors."""
    model = load(attention("sliced", ("batch", "length"), 2, 3)).model
    (site,) = found_in(model, "openvino")
    factors = np.linspace(0.1, 1, 6)
    forms = [model, equalized(model, {site: factors})]
    for form in forms:
        form.graph.outputs.append(next(v for n in form.graph for v in n.outputs if v.name == "rows"))
    x = np.random.default_rng(0).standard_normal((2, 4, 6)).astype(np.float32)
    before, after = (run(form, x)[-1] for form in forms)
    np.testing.assert_allclose(after, before / factors, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("given", [{"mixed": False}, {"seen": True}])
@pytest.mark.parametrize("length", [2, 3, "length"])
def test_channels_that_something_else_reads_or_that_lie_across_rows_are_left_alone(load, given, length):
    model = load(attention("apart", (1, length), 2, 3, **given)).model
    assert not found_in(model, "openvino")
