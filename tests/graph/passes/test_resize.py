import numpy as np
import onnxruntime
import pytest
from networks import Builder, Quantized, assert_computes_the_same, node_types, run_literally, sqnr

IMAGE = [1, 4, 6, 8]


def resized(b, *sizes, data="x", mode="nearest", opset=19, shape=None, **attributes):
    b.node("Resize", data, *sizes, output="y", mode=mode, **attributes)
    return b.model({"x": shape or IMAGE}, ["y"], opset)


def scales(b, *values):
    return b.constant(np.array(values, np.float32))


def sizes(b, *values):
    return b.constant(np.array(values, np.int64))


@pytest.mark.parametrize("mode", ["nearest", "linear"])
@pytest.mark.parametrize("axes", [[2, 3], [3, 2], [-1], [1]])
def test_scales_and_sizes_of_some_axes_become_those_of_all(load, mode, axes):
    if mode == "linear" and axes == [1]:
        axes = [2]
    by_scales, by_sizes = Builder(), Builder()
    values = [0.5, 2][: len(axes)]
    protos = [
        resized(by_scales, "", scales(by_scales, *values), mode=mode, axes=axes),
        resized(by_sizes, "", "", sizes(by_sizes, *[5, 7][: len(axes)]), mode=mode, axes=axes),
    ]
    for proto in protos:
        loaded = load(proto)
        (node,) = loaded.model.graph
        assert "axes" not in node.attributes
        assert node.inputs[-1].shape == (4,)
        assert_computes_the_same(loaded, proto)


def test_a_region_of_some_axes_becomes_one_of_all(load):
    b = Builder()
    region = scales(b, 0.1, 0.2, 0.8, 0.9)
    proto = resized(
        b,
        region,
        scales(b, 2, 2),
        axes=[2, 3],
        mode="linear",
        coordinate_transformation_mode="tf_crop_and_resize",
    )
    loaded = load(proto)
    assert "axes" not in next(iter(loaded.model.graph)).attributes
    assert_computes_the_same(loaded, proto)


def test_axes_stay_where_ratios_are_kept(load):
    b = Builder()
    proto = resized(b, "", "", sizes(b, 5, 7), axes=[2, 3], keep_aspect_ratio_policy="not_larger")
    loaded = load(proto)
    assert "axes" in next(iter(loaded.model.graph)).attributes


@pytest.mark.parametrize("batch", [1, 3, "N"])
def test_a_cubic_resize_to_a_smaller_size_has_no_channels(load, batch):
    b = Builder()
    proto = resized(b, "", scales(b, 1, 1, 0.5, 2), mode="cubic", shape=[batch, *IMAGE[1:]])
    loaded = load(proto)
    assert node_types(loaded) == ["Reshape", "Resize", "Reshape"]
    assert_computes_the_same(loaded, proto, batch=2 if batch == "N" else batch)


def test_a_cubic_resize_by_sizes_has_no_channels_either(load):
    b = Builder()
    proto = resized(b, "", "", sizes(b, 2, 4, 3, 5), mode="cubic", shape=[2, *IMAGE[1:]])
    loaded = load(proto)
    assert node_types(loaded) == ["Reshape", "Resize", "Reshape"]
    assert_computes_the_same(loaded, proto)


@pytest.mark.parametrize("mode", ["nearest", "linear"])
def test_other_resizes_stay(load, mode):
    b = Builder()
    loaded = load(resized(b, "", scales(b, 1, 1, 2, 2), mode=mode))
    assert node_types(loaded) == ["Resize"]


def behind_a_layer(mode, stretched, *orders, shape=IMAGE):
    """Conv - Transpose by each order - Resize - Transpose to the channels at the end."""
    b = Builder()
    data = b.conv("x", (4, 4))
    for order in orders:
        data = b.node("Transpose", data, perm=order)
    wide = b.node("Resize", data, "", scales(b, *stretched), mode=mode)
    b.node("Transpose", wide, output="y", perm=[0, 2, 3, 1])
    return b.model({"x": shape}, {"y": [None] * 4}, 13)


@pytest.mark.parametrize(
    ("proto", "kept"),
    [
        (behind_a_layer("linear", (1, 1, 2, 2)), 0),
        (behind_a_layer("linear", (1, 2, 2, 1), [0, 2, 3, 1]), 0),
        (behind_a_layer("linear", (1, 2, 2, 1)), 1),
        (behind_a_layer("linear", (1, 1, 2, 2), [0, 2, 3, 1]), 1),
        (behind_a_layer("linear", (1, 1, 2, 2), [0, 3, 1, 2], [0, 1, 3, 2]), 1),
        (behind_a_layer("cubic", (1, 1, 2, 2)), 2),
        (behind_a_layer("cubic", (1, 1, 2, 2), shape=[1, 4, "H", "W"]), 1),
    ],
)
def test_no_transpose_is_moved_past_a_resize_without_a_kernel_for_it(load, proto, kept):
    loaded = load(proto)
    assert node_types(loaded).count("Reshape") == kept
    assert_computes_the_same(loaded, proto, batch=6)
    quantized = Quantized(loaded, batch=6)
    as_users_open_it = onnxruntime.InferenceSession(quantized.exported)
    found = [as_users_open_it.run(None, feeds)[0] for feeds in quantized.feeds]
    wanted = [run_literally(proto, feeds)["y"] for feeds in quantized.feeds]
    assert sqnr(found, wanted) > 25
