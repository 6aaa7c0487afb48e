import numpy as np
import onnx
import pytest
from networks import Builder, Quantized, run_literally
from zoo import NETWORKS, detector

from distq.graph.heads import Place, parts, squashed, with_places

PARTS = ["boxes", "seen_behind", "classes_behind"]


def read_at(data, places):
    """Names of what is read at places."""
    return [value.name for value in onnx.load_model_from_string(with_places(data, places)).graph.output]


def test_an_output_put_together_is_measured_part_by_part(load):
    quantized = Quantized(load(detector()))
    found = parts(quantized.loaded.model, quantized.plan)
    names = read_at(quantized.loaded.serialized(), found)
    assert names == [f"{level}_{part}" for level in ("fine", "coarse") for part in PARTS]


@pytest.mark.parametrize("target", ["ort", "openvino", "tensorrt"])
def test_the_exported_model_has_the_same_parts(load, target):
    quantized = Quantized(load(detector()), target)
    found = parts(quantized.loaded.model, quantized.plan)
    exact = run_literally(with_places(quantized.loaded.serialized(), found), quantized.feeds[0])
    rounded = run_literally(with_places(quantized.exported, found), quantized.feeds[0])
    for one, other in zip(exact.values(), rounded.values(), strict=True):
        np.testing.assert_allclose(one, other, atol=0.2)
    whole = run_literally(quantized.exported, quantized.feeds[0])["y"]
    pieces = list(rounded.values())
    rows = [np.concatenate([p.reshape(1, p.shape[1], -1) for p in pieces[i : i + 3]], 1) for i in (0, 3)]
    np.testing.assert_array_equal(whole, np.concatenate(rows, 2).transpose(0, 2, 1))


@pytest.mark.parametrize("name", sorted(set(NETWORKS) - {"detector"}))
def test_an_output_of_one_piece_stays_what_is_measured(load, name):
    quantized = Quantized(load(NETWORKS[name]()))
    assert parts(quantized.loaded.model, quantized.plan) == ()


def test_outputs_of_one_piece_stay_among_the_parts_of_others(load):
    b = Builder()
    first, second = (b.conv("x", (4, 3), output=name) for name in ("first", "second"))
    b.node("Concat", first, b.node("Exp", second, output="sizes"), axis=1, output="boxes")
    b.node("Softmax", b.conv("x", (4, 2)), axis=1, output="scores")
    quantized = Quantized(load(b.model({"x": [1, 4, 8, 8]}, ["scores", "boxes"])))
    found = parts(quantized.loaded.model, quantized.plan)
    assert found[0] == Place(None, 0)
    assert read_at(quantized.loaded.serialized(), found) == ["scores", "first", "sizes"]


def test_constants_are_no_part(load):
    b = Builder()
    b.node("Concat", b.conv("x", (4, 3), output="found"), b.random(1, 1, 8, 8), axis=1, output="y")
    quantized = Quantized(load(b.model({"x": [1, 4, 8, 8]}, ["y"])))
    assert read_at(quantized.loaded.serialized(), parts(quantized.loaded.model, quantized.plan)) == ["found"]


def test_a_concat_that_layers_read_is_left_whole(load):
    b = Builder()
    joined = b.node("Concat", b.conv("x", (4, 3)), b.conv("x", (4, 3)), axis=1, output="joined")
    b.conv(joined, (6, 2), output="y")
    quantized = Quantized(load(b.model({"x": [1, 4, 8, 8]}, ["joined", "y"])))
    assert parts(quantized.loaded.model, quantized.plan) == ()


def test_squashed_layers_are_those_a_sigmoid_of_the_post_processing_alone_reads(load):
    quantized = Quantized(load(detector()))
    found = squashed(quantized.loaded.model, quantized.plan)
    assert [layer.output for layer, _ in found] == [
        "fine_seen",
        "fine_classes",
        "coarse_seen",
        "coarse_classes",
    ]
    places = [place for _, place in found]
    assert read_at(quantized.loaded.serialized(), places) == [layer.output for layer, _ in found]


@pytest.mark.parametrize("target", ["ort", "openvino"])
def test_squashed_layers_are_found_where_boxes_and_classes_are_joined_and_split_again(load, target):
    """YOLOv8: boxes and classes of two levels in one tensor; a layer reads the boxes of it."""
    b = Builder()
    levels = []
    for level, size in (("fine", 64), ("coarse", 16)):
        source = "x" if level == "fine" else b.node("MaxPool", "x", kernel_shape=[2, 2], strides=[2, 2])
        heads = [b.conv(source, (4, channels), output=f"{level}_{channels}") for channels in (8, 3)]
        joined = b.node("Concat", *heads, axis=1)
        levels.append(b.node("Reshape", joined, b.constant(np.array([1, 11, size])), output=level))
    b.node("Concat", *levels, axis=2, output="all")
    b.nodes.append(
        onnx.helper.make_node("Split", ["all", b.constant(np.array([8, 3]))], ["boxes", "scores"], axis=1)
    )
    square = b.node("Reshape", "boxes", b.constant(np.array([1, 8, 8, 10])), output="square")
    b.conv(square, (8, 2), output="decoded")
    b.node("Sigmoid", "scores", output="y")
    quantized = Quantized(load(b.model({"x": [1, 4, 8, 8]}, ["decoded", "y"])), target)
    found = squashed(quantized.loaded.model, quantized.plan)
    assert [layer.output for layer, _ in found] == ["fine_3", "coarse_3"]
    places = [place for _, place in found]
    assert read_at(quantized.loaded.serialized(), places) == ["fine_3", "coarse_3"]


def test_a_gate_inside_the_network_is_not_squashed(load):
    quantized = Quantized(load(NETWORKS["many branches"]()))
    assert squashed(quantized.loaded.model, quantized.plan) == ()
