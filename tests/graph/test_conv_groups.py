"""Convolutions whose output channels are split by magnitude."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import onnx_ir as ir
import pytest
from networks import Builder, Quantized, load, run_literally

from distq.graph.conv_groups import LEAST_CHANNELS, parted, split, splits
from distq.graph.load import LoadedModel
from distq.graph.settings import Settings

SPREAD = np.repeat([1.0, 0.02], 8)


def block(*, ends="conv", spread=SPREAD, opset=13):
    """A Conv with loud and quiet channels, Relu, a depthwise Conv, Relu, and what reads it."""
    b = Builder(2)
    order = np.random.default_rng(0).permutation(16)
    first = b.conv("x", (4, 16), output="first_sums", name="first_conv")
    spread = spread[order].reshape(-1, 1, 1, 1).astype(np.float32)
    b.initializers[b.nodes[-1].input[1]] *= spread
    value = b.node("Relu", first, output="first")
    second = b.conv(value, (16, 16), group=16, output="second_sums")
    b.initializers[b.nodes[-1].input[1]] /= spread  # as loud again as they were
    value = b.node("Relu", second, output="second")
    if ends == "conv":
        b.conv(value, (16, 3), output="y")
        return b.model({"x": [1, 4, 8, 8]}, ["y"], opset)
    if ends == "add":
        value = b.node("Add", value, b.conv("x", (4, 16), output="other"), output="sum")
        b.conv(value, (16, 3), output="y")
        return b.model({"x": [1, 4, 8, 8]}, ["y"], opset)
    return b.model({"x": [1, 4, 8, 8]}, ["second"], opset)


def grouped(loaded, count=2, floats=()):
    names = [node.name for node in loaded.model.graph if splits(node)]
    return split(loaded.model, dict.fromkeys(names, count), floats)


@pytest.mark.parametrize(("ends", "gathers"), [("conv", 0), ("add", 1), ("output", 1)])
def test_the_network_computes_the_same(tmp_path, ends, gathers):
    proto = block(ends=ends)
    loaded = load(tmp_path, proto)
    model, made = grouped(loaded)
    assert {len(parts) for parts in made.values()} == {2}
    assert len(made) == 4  # two Convs, a Relu behind each
    types = [node.op_type for node in model.graph]
    assert (types.count("Concat"), types.count("Gather")) == (1, gathers)
    feeds = {"x": np.random.default_rng(1).normal(size=(1, 4, 8, 8)).astype(np.float32)}
    wanted, found = (run_literally(p, feeds) for p in (proto, ir.to_proto(model)))
    assert list(wanted) == list(found)
    for name, array in wanted.items():
        np.testing.assert_allclose(found[name], array, rtol=1e-5, atol=1e-5)


def test_each_group_holds_channels_of_one_magnitude(tmp_path):
    loaded = load(tmp_path, block())
    model, made = grouped(loaded)
    (loud, quiet) = made["first_conv"]
    largest = [np.abs(model.graph.node(n).inputs[1].const_value.numpy()).max() for n in (loud, quiet)]
    assert largest[1] < 0.1 * largest[0]


def test_names_of_the_network_stay(tmp_path):
    model, _ = grouped(load(tmp_path, block()))
    values = {value.name for node in model.graph for value in node.outputs}
    assert {"second", "second_group0", "second_group1", "first_group0", "y"} <= values


def test_the_interface_stays(tmp_path):
    proto = block(ends="output")
    proto.graph.output[0].type.tensor_type.ClearField("shape")
    loaded = load(tmp_path, proto)
    model, made = grouped(loaded)
    assert made
    shapes = [[value.shape for value in m.graph.outputs] for m in (loaded.model, model)]
    assert shapes[0] == shapes[1]


def test_groups_help_layers_of_one_weight_scale(tmp_path):
    loaded = load(tmp_path, block())
    model, made = grouped(loaded)
    parts = LoadedModel(loaded.path, loaded.sha256, model)
    found = []
    for network in (loaded, parts):
        nodes = frozenset(node.name for node in network.model.graph)
        found.append(Quantized(network, settings=Settings(one_scale=nodes)).sqnr())
    assert made
    assert found[1] > found[0] + 3


def test_channels_that_are_alike_stay_together(tmp_path):
    loaded = load(tmp_path, block(spread=np.ones(16)))
    model, made = grouped(loaded)
    assert not made
    assert len(list(model.graph)) == len(list(loaded.model.graph))


def test_a_float_layer_is_not_split_with_those_before_it(tmp_path):
    loaded = load(tmp_path, block())
    depthwise = next(n.name for n in loaded.model.graph if n.attributes.get_int("group", 1) > 1)
    _, made = grouped(loaded, floats={depthwise})
    assert depthwise not in made
    assert "first_conv" in made


@pytest.mark.parametrize(
    ("magnitudes", "count", "sizes"),
    [
        (np.repeat([8.0, 1.0], 8), 2, [8, 8]),
        (np.repeat([8.0, 1.0], [20, 12]), 2, [20, 12]),
        (np.repeat([1.0, 8.0, 64.0], [8, 16, 9]), 3, [9, 16, 8]),
        (np.repeat([8.0, 1.0], 8), 5, [8, 8]),  # no group is smaller
        (np.repeat([8.0, 1.0], 7), 2, [14]),
        (np.repeat([1.1, 1.0], 8), 2, [16]),
        (np.zeros(16), 2, [16]),
    ],
)
def test_parts_are_cut_where_magnitudes_jump(magnitudes, count, sizes):
    shuffled = np.random.default_rng(0).permutation(magnitudes)
    groups = parted([shuffled[:, None]], count)
    assert [len(group) for group in groups] == sizes
    assert sorted(np.concatenate(groups)) == list(range(len(magnitudes)))
    assert min(map(len, groups)) >= LEAST_CHANNELS
    for louder, quieter in pairwise(groups):
        assert shuffled[louder].min() >= shuffled[quieter].max()


@pytest.mark.parametrize("attributes", [{"group": 2}, {"group": 4}])
def test_convolutions_of_several_groups_are_not_split_by_themselves(tmp_path, attributes):
    b = Builder(1)
    b.conv("x", (4, 32), output="y", **attributes)
    loaded = load(tmp_path, b.model({"x": [1, 4, 8, 8]}, ["y"]))
    assert not any(splits(node) for node in loaded.model.graph)
