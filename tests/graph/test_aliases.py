"""Names of the user's file that are no longer in the network."""

from __future__ import annotations

import pytest
from networks import Builder

from distq.graph.named import nodes_by_name
from distq.graph.placement import make_plan
from distq.graph.resolve import resolve_layers, resolve_names
from distq.graph.settings import Settings
from distq.targets import find_target


def normalized():
    """Conv, BatchNormalization, a factor for each channel, Relu, Dropout, Conv."""
    b = Builder(1)
    sums = b.conv("x", (4, 8), output="conv_out", name="conv")
    normal = b.batch_norm(sums, 8, output="bn_out", name="bn")
    scaled = b.node("Mul", normal, b.positive(8, 1, 1), output="scale_out", name="scale")
    relu = b.node("Relu", scaled, output="relu_out", name="relu")
    b.conv(b.node("Identity", relu, output="same", name="identity"), (8, 4), output="y")
    return b.model({"x": [1, 4, 8, 8]}, ["y"])


@pytest.mark.parametrize(
    "name", ["conv", "conv_out", "bn", "bn_out", "scale", "scale_out", "relu_out", "relu"]
)
def test_what_was_folded_into_a_layer_names_it(load, name):
    loaded = load(normalized())
    node = nodes_by_name(loaded.model.graph, loaded.aliases)[name]
    assert node.op_type == "Conv"
    assert node.outputs[0].uses()


def test_what_is_still_there_means_itself(load):
    loaded = load(normalized())
    assert not {"relu_out", "y", "x"} & set(loaded.aliases)
    assert set(loaded.aliases.values()) <= {
        *(v.name for n in loaded.model.graph for v in n.outputs),
        *(n.name for n in loaded.model.graph),
    }


def test_they_name_quantized_tensors_too(load):
    loaded = load(normalized())
    plan = make_plan(loaded.model, find_target("ort"), "auto", settings=Settings(aliases=loaded.aliases))
    for name in ("conv_out", "bn", "bn_out", "scale_out", "relu"):
        assert resolve_names(loaded.model, plan, [name], "--layers") == ("relu_out",)


@pytest.mark.parametrize("name", ["conv", "bn", "bn_out", "scale", "relu", "relu_out"])
def test_they_name_compute_layers_too(load, name):
    loaded = load(normalized())
    plan = make_plan(loaded.model, find_target("ort"), "auto", settings=Settings(aliases=loaded.aliases))
    assert resolve_layers(loaded.model, plan, [name], "--int8-layers") == ("relu_out",)
