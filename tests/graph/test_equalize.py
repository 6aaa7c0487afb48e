import numpy as np
import onnx_ir as ir
import pytest
from networks import SETTINGS, Builder

from distq.graph.equalize import EQUALIZED, EVENED, SMALLEST_FACTOR, equalized, factors, sites
from distq.graph.plan import make_plan
from distq.graph.probes import with_outputs
from distq.graph.resolve import resolve_names
from distq.replica.session import Session

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


def scaled(model, found, feeds):
    session = Session(with_outputs(model, [site.tensor for site in found]), SETTINGS)
    values = dict(zip(session.outputs, session.run(feeds), strict=True))
    low = {name: value.min(axis=(0, 2, 3)).astype(float) for name, value in values.items()}
    high = {name: value.max(axis=(0, 2, 3)).astype(float) for name, value in values.items()}
    return {site: factors(model, site, low[site.tensor], high[site.tensor]) for site in found}


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
    found = sites(model, "openvino")
    assert found
    other = equalized(model, scaled(model, found, feeds))
    for before, after in zip(outputs(model, feeds), outputs(other, feeds), strict=True):
        np.testing.assert_allclose(after, before, rtol=1e-4, atol=1e-4 * np.abs(before).max())


def test_a_positively_homogeneous_activation_passes_the_factors_on_and_others_get_a_multiplication(load):
    assert [site.producer is None for site in sites(network(load, "Relu"), "openvino")] == [False]
    assert [site.producer is None for site in sites(network(load, "SiLU"), "openvino")] == [True]
    assert [site.producer is None for site in sites(network(load, "Clip"), "openvino")] == [True]


def test_no_multiplication_parts_an_integer_kernel_from_its_quantizer(load):
    assert sites(network(load, "Clip"), "ort") == ()
    assert len(sites(network(load, "SiLU"), "ort")) == 1


def test_a_tensor_that_anything_else_reads_is_left_alone(load):
    b = Builder()
    hidden = b.node("Relu", b.conv("x", (4, 6)))
    b.conv(hidden, (6, 5), output="y")
    b.node("Softmax", hidden, output="z")
    assert sites(load(b.model({"x": SHAPE}, ["y", "z"])).model, "openvino") == ()


def widths(model, tensor, feeds):
    (value,) = Session(with_outputs(model, [tensor]), SETTINGS).run(feeds)
    return np.maximum(value.max(axis=(0, 2, 3)), 0) - np.minimum(value.min(axis=(0, 2, 3)), 0)


def test_channels_in_front_of_a_depthwise_layer_come_closer_and_keep_room(load, feeds):
    model = network(load, "SiLU", depthwise=True)
    (site,) = sites(model, "openvino")
    other = equalized(model, scaled(model, (site,), feeds))
    before, after = widths(model, site.tensor, feeds), widths(other, site.tensor + EQUALIZED, feeds)
    assert after.max() <= before.max() * (1 + 1e-6)
    np.testing.assert_allclose(after / after.max(), (before / before.max()) ** (1 - EVENED), rtol=1e-4)


def test_a_channel_that_never_moves_keeps_its_scale_and_none_is_blown_up_without_bound(load):
    model = network(load, "SiLU", depthwise=True)
    (site,) = sites(model, "openvino")
    high = np.array([0.0, 1e-9, 1.0, 10.0, 100.0, 1000.0])
    found = factors(model, site, np.zeros(6), high)
    assert found[0] == 1.0
    assert found[1] == SMALLEST_FACTOR
    assert found[5] == 1.0
    assert np.all(np.diff(found[2:]) > 0)


def test_a_layer_is_still_called_by_the_users_name(load, feeds):
    model = network(load, "SiLU")
    found = sites(model, "openvino")
    other = equalized(model, scaled(model, found, feeds))
    plan = make_plan(other, "openvino", "auto")
    assert resolve_names(other, plan, ["h"], "--layers") == ("h" + EQUALIZED,)
