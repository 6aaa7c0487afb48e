"""With target ``ort`` a ConvTranspose is exported as a Conv of its phases, unless that gains nothing."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import onnx
import pytest
from networks import SETTINGS, Builder, Quantized, run_literally, sqnr

from distq.graph.names import Names
from distq.graph.patches import Geometry, sampled_patches
from distq.graph.qdq import export
from distq.graph.subgraph import Network
from distq.graph.subpixel import as_conv, as_conv_geometry, from_conv, without_subpixels
from distq.replica.session import Session, fuse
from distq.stages.kernels import float_layers, integer_kernels, kernels_of_layers

IMAGE = [1, 4, 5, 6]


def network(kernel, sizes=IMAGE, *, inputs=8, outputs=8, opset=13, **attributes):
    """Conv - ConvTranspose - Relu - Conv, of as many dimensions as the kernel."""
    b, rank = Builder(1), len(kernel)
    a = b.node("Conv", "x", b.random(inputs, sizes[1], *[1] * rank), output="a")
    weight = b.random(inputs, outputs, *kernel, scale=0.3)
    bias = b.random(outputs * attributes.get("group", 1))
    t = b.node("ConvTranspose", a, weight, bias, output="t", name="up", **attributes)
    last = b.random(3, outputs * attributes.get("group", 1), *[1] * rank)
    b.node("Conv", b.node("Relu", t, output="r"), last, output="y")
    return b.model({"x": sizes}, ["y"], opset)


SQUARE, OPEN = {"strides": [2, 2]}, ["n", 4, "h", "w"]
WRITTEN = {
    "kernel as its stride": network((2, 2), **SQUARE),
    "twice its stride, cropped": network((4, 4), **SQUARE, pads=[1] * 4),
    "more at its end": network((3, 3), **SQUARE, pads=[1] * 4, output_padding=[1, 1]),
    "cropped by a whole pixel": network((5, 5), **SQUARE, pads=[2] * 4, output_padding=[1, 1]),
    "smaller than its stride": network((2, 2), strides=[3, 3]),
    "of no stride": network((3, 3), pads=[1] * 4),
    "unlike axes": network((3, 2), strides=[3, 1]),
    "one axis, one side cropped": network((2, 4), strides=[1, 4], pads=[1, 0, 0, 0]),
    "size by its name": network((3, 3), **SQUARE, auto_pad="SAME_LOWER"),
    "size given": network((3, 3), **SQUARE, output_shape=[10, 12]),
    "one dimension": network((16,), [1, 4, 7], strides=[8], pads=[4, 4]),
    "three dimensions": network((4, 2, 2), [1, 4, 3, 2, 4], strides=[2, 2, 2], pads=[1, 0, 0] * 2),
    "open sizes": network((4, 4), OPEN, **SQUARE, pads=[1] * 4),
    "open height": network((4, 4), [1, 4, "h", 6], **SQUARE, pads=[1] * 4),
    "open length": network((4,), ["n", 4, "l"], strides=[2], pads=[1, 1]),
    "open sizes, one axis": network((1, 2), OPEN, strides=[1, 2]),
    "open sizes of volumes": network((2, 2, 2), ["n", 4, "d", "h", "w"], strides=[2, 2, 2]),
}


@pytest.mark.parametrize("kind", WRITTEN)
def test_it_runs_on_integers_and_computes_the_same(load, kind):
    quantized = Quantized(load(WRITTEN[kind]), samples=2, batch=3)
    model, plan = quantized.loaded.model, quantized.plan
    assert integer_kernels(quantized.exported)["up"] == "QLinearConv"
    assert not list(float_layers(model, plan, quantized.exported))
    assert kernels_of_layers(model, plan, quantized.exported).layers == 3
    whole = export(model, without_subpixels(plan), quantized.state)
    assert "ConvTranspose" in {node.op_type for node in onnx.load_model_from_string(whole).graph.node}
    fused, literal = Session(quantized.exported, SETTINGS, fused=True), Session(whole, SETTINGS)
    found, wanted = (
        [output for feeds in quantized.feeds for output in session.run(feeds)] for session in (fused, literal)
    )
    assert [array.shape for array in found] == [array.shape for array in wanted]
    assert sqnr(found, wanted) > 50
    assert quantized.sqnr() > 30


@pytest.mark.parametrize("kind", ["twice its stride, cropped", "open sizes"])
def test_its_tensor_keeps_its_name_in_the_graph_that_is_run(load, kind):
    quantized = Quantized(load(WRITTEN[kind]), samples=1)
    tensors = {tensor for q in quantized.plan.quantizers for tensor in q.tensors}
    assert tensors == {"x", "a", "r", "y"}
    names = Names.free_in(quantized.loaded.model)
    network = Network(fuse(quantized.exported, SETTINGS))
    assert {names.quantized(tensor) for tensor in tensors} <= network.producer.keys()


def test_a_symmetric_range_is_no_hindrance(load):
    quantized = Quantized(load(WRITTEN["twice its stride, cropped"]), scheme="symmetric", samples=2)
    assert integer_kernels(quantized.exported)["up"] == "QLinearConv"
    assert quantized.sqnr() > 28


KEPT = {
    "sums of few values": network((2, 2), inputs=4, **SQUARE),
    "few channels": network((2, 2), outputs=2, **SQUARE),
    "many zeros in its phases": network((1, 1), strides=[2, 2]),
    "dilated": network((2, 2), **SQUARE, dilations=[2, 2]),
    "a given size of open ones": network((3, 3), OPEN, **SQUARE, output_shape=[10, 10]),
    "of a size that is in doubt": network((3, 3), **SQUARE, auto_pad="SAME_UPPER", output_padding=[1, 1]),
    "cut off by more than its kernel": network((2, 2), **SQUARE, pads=[4, 0, 0, 0]),
}


@pytest.mark.parametrize("kind", KEPT)
def test_where_it_gains_nothing_it_stays(load, kind):
    quantized = Quantized(load(KEPT[kind]), samples=1, batch=5)
    assert integer_kernels(quantized.exported)["up"] == "ConvTranspose"


@pytest.mark.parametrize("options", [{"target": "openvino"}, {"target": "tensorrt"}, {"int16": ["r"]}])
def test_other_targets_and_16_bits_keep_it(load, options):
    quantized = Quantized(load(WRITTEN["kernel as its stride"]), samples=1, **options)
    written = {node.op_type for node in onnx.load_model_from_string(quantized.exported).graph.node}
    assert "ConvTranspose" in written
    assert not any(layer.subpixel for layer in quantized.plan.layers)


@pytest.mark.parametrize(
    ("shape", "strides"), [((3, 2, 4, 4), (2, 2)), ((3, 2, 5, 3), (2, 1)), ((2, 3, 7), (3,))]
)
def test_its_weights_come_back_from_those_of_the_conv(shape, strides):
    weight = np.random.default_rng(0).integers(-127, 128, shape, np.int8)
    conv = as_conv(weight, strides)
    assert conv.shape[:2] == (shape[1] * np.prod(strides), shape[0])
    assert abs(conv.astype(int)).sum() == abs(weight.astype(int)).sum()
    np.testing.assert_array_equal(from_conv(conv, strides, shape[2:]), weight)


def test_sampled_patches_times_weights_of_a_phase_are_outputs(load):
    loaded = load(network((4, 4), [1, 8, 9, 8], outputs=4, **SQUARE, pads=[1] * 4))
    quantized = Quantized(loaded, samples=1)
    layer = next(layer for layer in quantized.plan.layers if layer.op == "ConvTranspose")
    geometry = Geometry.of(loaded.model, layer)
    data = np.random.default_rng(0).integers(0, 256, (1, 8, 9, 8), np.uint8)
    patches = sampled_patches(as_conv_geometry(geometry, (9, 8)), data, 100, 40, seed=3)
    node = loaded.model.graph.node("up")
    weight = as_conv(node.inputs[1].const_value.numpy(), (2, 2)).reshape(16, -1).astype(float)
    b = Builder()
    kernel = b.constant(node.inputs[1].const_value.numpy())
    b.node("ConvTranspose", "x", kernel, output="y", strides=[2, 2])
    outputs = run_literally(b.model({"x": [1, 8, 9, 8]}, ["y"]), {"x": data.astype(np.float32) - 100})["y"][0]
    phases = outputs.reshape(4, 10, 2, 9, 2).transpose(1, 3, 2, 4, 0).reshape(90, 16)
    found = patches.reshape(len(patches), -1) @ weight.T
    distances = abs(found[:, None] - phases[None]).max(axis=2).min(axis=1)
    assert len(patches) == 40
    assert distances.max() < 1e-2


def test_numbers_of_a_network_that_was_written_before_take_its_form(load):
    """Nodes are written once; weights and biases that follow are filled in in the Conv's order."""
    quantized = Quantized(load(WRITTEN["twice its stride, cropped"]), samples=1)
    quantized.export()
    weight = quantized.state.weights["r"]
    others = {
        **quantized.state.weights,
        "r": replace(weight, integers=np.flip(weight.integers, 2).copy()),
    }
    changed = replace(quantized.state, weights=others)
    plain = export(quantized.loaded.model, without_subpixels(quantized.plan), changed)
    feeds = quantized.feeds[0]
    found, wanted = (Session(m, SETTINGS).run(feeds) for m in (quantized.export(changed), plain))
    assert sqnr(found, wanted) > 50
