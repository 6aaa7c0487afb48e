import numpy as np
import pytest
from networks import Builder, assert_computes_the_same, node_types


def averaged(shape, axes, opset, keepdims=1, behind="MatMul"):
    """MatMul - ReduceMean - MatMul, or an activation."""
    b = Builder()
    a = b.node("MatMul", "x", b.random(shape[-1], shape[-1]))
    given = {"axes": axes} if opset < 18 else {}
    inputs = [a] if opset < 18 else [a, b.constant(np.array(axes, np.int64))]
    mean = b.node("ReduceMean", *inputs, output="mean", keepdims=keepdims, **given)
    if behind == "MatMul":
        gone = {axis % len(shape) for axis in axes}
        left = [1 if i in gone else size for i, size in enumerate(shape) if keepdims or i not in gone]
        last = left[-1]
        b.node("MatMul", mean, b.random(last, 3), output="y")
    else:
        b.node(behind, mean, output="y")
    return b.model({"x": shape}, ["y"], opset)


@pytest.mark.parametrize("opset", [13, 18])
@pytest.mark.parametrize("keepdims", [0, 1])
@pytest.mark.parametrize(("shape", "axes"), [([2, 4, 3, 6], [-1, 2]), ([1, 4, 2, 3, 6], [2, 3, 4])])
def test_a_mean_over_images_is_a_pool(load, shape, axes, keepdims, opset):
    proto = averaged(shape, axes, opset, keepdims)
    loaded = load(proto)
    found = node_types(loaded)
    assert "ReduceMean" not in found
    behind = found[found.index("GlobalAveragePool") + 1]
    assert behind == ("MatMul" if keepdims else "Flatten")
    assert_computes_the_same(loaded, proto)


@pytest.mark.parametrize("axes", [[1], [3], [1, 2], [0, 1, 2, 3]])
def test_other_means_stay(load, axes):
    assert "ReduceMean" in node_types(load(averaged([2, 4, 3, 6], axes, 13)))


def test_a_mean_behind_the_last_layer_stays(load):
    assert "ReduceMean" in node_types(load(averaged([2, 4, 3, 6], [2, 3], 13, behind="Relu")))


def test_means_that_normalize_stay(load):
    """ONNX Runtime looks for them by their operators."""
    b = Builder()
    a = b.conv("x", (4, 4))
    centred = b.node("Sub", a, b.node("ReduceMean", a, axes=[2, 3]))
    spread = b.node("ReduceMean", b.node("Mul", centred, centred), axes=[2, 3])
    b.conv(b.node("Div", centred, b.node("Sqrt", spread)), (4, 3), output="y")
    assert node_types(load(b.model({"x": [1, 4, 6, 6]}, ["y"]))).count("ReduceMean") == 2


def test_means_over_the_last_of_three_dimensions_stay(load):
    assert "ReduceMean" in node_types(load(averaged([2, 4, 6], [2], 13)))
