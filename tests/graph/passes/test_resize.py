import numpy as np
import pytest
from networks import Builder, assert_computes_the_same, node_types

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


@pytest.mark.parametrize("shape", [[1, 4, 6, 8], ["N", "C", 6, 8]])
def test_other_resizes_stay(load, shape):
    b = Builder()
    values = (1, 1, 2, 2) if shape[1] == 4 else (1, 1, 0.5, 0.5)
    loaded = load(resized(b, "", scales(b, *values), mode="cubic", shape=shape))
    assert node_types(loaded) == ["Resize"]
