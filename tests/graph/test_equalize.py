import numpy as np
import onnx_ir as ir
import pytest
from networks import SETTINGS, Builder

from distq.graph.equalize import equalized, sites
from distq.graph.placement import make_plan
from distq.graph.probes import with_outputs
from distq.graph.resolve import resolve_names
from distq.graph.site import EQUALIZED
from distq.replica.session import Session
from distq.targets import find_target

SHAPE = [1, 4, 8, 8]


def activation(b, tensor, kind):
    if kind == "SiLU":
        return b.node("Mul", tensor, b.node("Sigmoid", tensor), output="h")
    if kind == "Clip":
        return b.node("Clip", tensor, b.constant(np.float32(0)), b.constant(np.float32(6)), output="h")
    return b.node(kind, tensor, output="h")


def network(load, kind, *, depthwise=False, bias=True):
    """Conv, an activation, then a Conv of each channel by itself or of all."""
    b = Builder(3)
    first = b.conv("x", (4, 6), bias=bias, output="c")
    hidden = activation(b, first, kind)
    second = (6, 6) if depthwise else (6, 5)
    b.conv(hidden, second, output="y", name="second", **({"group": 6} if depthwise else {}))
    return load(b.model({"x": SHAPE}, ["y"], opset=14)).model


def outputs(model, feeds):
    return Session(bytes(ir.to_proto(model).SerializeToString()), SETTINGS).run(feeds)


def found_in(model, target="openvino"):
    return sites(model, make_plan(model, find_target(target), "auto"))


def scaled(model, found, feeds):
    """Factors that make all channels of each site equally wide."""
    names = [name for site in found for name in site.tensors]
    session = Session(with_outputs(model, names), SETTINGS)
    values = dict(zip(session.outputs, session.run(feeds), strict=True))
    widths = {}
    for name, value in values.items():
        axes = (0, *range(2, value.ndim))
        widths[name] = np.maximum(value.max(axes), 0) - np.minimum(value.min(axes), 0)
    shares = {site: np.max([widths[t] / widths[t].max() for t in site.tensors], axis=0) for site in found}
    return {site: np.where(share > 0, share, 1.0).astype(float) for site, share in shares.items()}


@pytest.fixture
def feeds():
    return {"x": np.random.default_rng(0).normal(size=SHAPE).astype(np.float32) * 3}


@pytest.mark.parametrize("depthwise", [False, True])
@pytest.mark.parametrize("kind", ["Relu", "LeakyRelu", "MaxPool", "SiLU", "Clip", "HardSwish"])
def test_an_equalized_network_computes_the_same(load, feeds, kind, depthwise):
    if kind == "MaxPool":
        b = Builder(3)
        b.conv(b.node("MaxPool", b.conv("x", (4, 6)), kernel_shape=[2, 2]), (6, 5), output="y")
        model = load(b.model({"x": SHAPE}, ["y"])).model
    else:
        model = network(load, kind, depthwise=depthwise)
    found = found_in(model)
    assert found
    other = equalized(model, scaled(model, found, feeds))
    for before, after in zip(outputs(model, feeds), outputs(other, feeds), strict=True):
        np.testing.assert_allclose(after, before, rtol=1e-4, atol=1e-4 * np.abs(before).max())


def test_weights_that_were_replaced_are_gone(load):
    model = network(load, "Relu")
    (site,) = found_in(model)
    changed = equalized(model, {site: np.full(6, 2.0)})
    assert all(value.uses() for value in changed.graph.initializers.values())
    assert len(changed.graph.initializers) == len(model.graph.initializers)


@pytest.mark.parametrize("target", ["openvino", "ort"])
def test_inputs_and_output_of_a_sum_share_their_factors(load, feeds, target):
    b = Builder(3)
    first = b.node("Relu", b.conv("x", (4, 6), output="c"), output="h")
    total = b.node("Add", first, b.conv(first, (6, 6), output="d"), output="s")
    b.conv(b.node("Relu", total, output="r"), (6, 5), output="y")
    model = load(b.model({"x": SHAPE}, ["y"])).model
    (site,) = found_in(model, target)
    assert len(site.writers) == len(site.readers) == 2
    assert {"h", "r"} <= set(site.tensors)
    other = equalized(model, scaled(model, (site,), feeds))
    np.testing.assert_allclose(outputs(other, feeds)[0], outputs(model, feeds)[0], rtol=1e-4, atol=1e-4)


def test_a_gemm_behind_an_average_takes_factors(load, feeds):
    b = Builder(3)
    average = b.node("GlobalAveragePool", b.node("Relu", b.conv("x", (4, 6)), output="h"), output="a")
    b.node("Gemm", b.node("Flatten", average, output="f"), b.random(6, 5), output="y")
    model = load(b.model({"x": SHAPE}, ["y"])).model
    (site,) = found_in(model)
    other = equalized(model, scaled(model, (site,), feeds))
    np.testing.assert_allclose(outputs(other, feeds)[0], outputs(model, feeds)[0], rtol=1e-4, atol=1e-4)


def test_a_clip_ends_each_channel_at_its_bound_times_its_factor(load, feeds):
    model = network(load, "Clip", depthwise=True)
    (site,) = found_in(model)
    assert site.bound == 6.0
    halved = {site: np.full(6, 0.5)}
    clipped = {site: np.where(np.arange(6) == 0, 1e-3, 1.0)}
    (plain,), (same,) = outputs(model, feeds), outputs(equalized(model, halved), {"x": feeds["x"] / 9})
    (expected,) = outputs(model, {"x": feeds["x"] / 9})
    np.testing.assert_allclose(same, expected, rtol=1e-4, atol=1e-4)
    (found,) = outputs(equalized(model, clipped), feeds)
    np.testing.assert_allclose(found[:, 1:], plain[:, 1:], rtol=1e-4, atol=1e-4)
    assert not np.allclose(found[:, 0], plain[:, 0], atol=1e-2)


def test_operators_that_keep_proportions_pass_the_factors_on_and_others_get_a_multiplication(load):
    assert [bool(site.writers) for site in found_in(network(load, "Relu"))] == [True]
    assert [bool(site.writers) for site in found_in(network(load, "Clip"))] == [True]
    assert [bool(site.writers) for site in found_in(network(load, "SiLU"))] == [False]


def test_no_multiplication_parts_an_integer_kernel_from_its_quantizer(load):
    b = Builder(3)
    pooled = b.node("Concat", b.conv("x", (4, 3)), b.conv("x", (4, 3)), axis=1, output="h")
    b.conv(pooled, (6, 5), output="y")
    model = load(b.model({"x": SHAPE}, ["y"])).model
    assert found_in(model, "ort") == ()
    assert len(found_in(model, "openvino")) == 1
    assert found_in(network(load, "SiLU"), "ort") == ()
    assert len(found_in(network(load, "Tanh"), "ort")) == 1


def test_a_tensor_that_anything_else_reads_is_left_alone(load):
    b = Builder()
    hidden = b.node("Relu", b.conv("x", (4, 6)))
    b.conv(hidden, (6, 5), output="y")
    b.node("Softmax", hidden, output="z")
    assert found_in(load(b.model({"x": SHAPE}, ["y", "z"])).model) == ()


def test_channels_in_front_of_a_depthwise_layer_become_equally_wide(load, feeds):
    model = network(load, "SiLU", depthwise=True)
    (site,) = found_in(model)
    other = equalized(model, scaled(model, (site,), feeds))
    session = Session(with_outputs(other, site.quantized), SETTINGS)
    (value,) = session.run(feeds)
    widths = np.maximum(value.max(axis=(0, 2, 3)), 0) - np.minimum(value.min(axis=(0, 2, 3)), 0)
    np.testing.assert_allclose(widths, widths.max(), rtol=1e-4)


def test_a_layer_is_still_called_by_the_users_name(load, feeds):
    model = network(load, "SiLU")
    found = found_in(model)
    other = equalized(model, scaled(model, found, feeds))
    plan = make_plan(other, find_target("openvino"), "auto")
    assert resolve_names(other, plan, ["h"], "--layers") == ("h" + EQUALIZED,)
