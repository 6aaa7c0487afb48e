import numpy as np
import onnx
import pytest
from networks import Builder, assert_computes_the_same, node_types

from distq.run.samples import input_specs


def flattened(batch):
    """A Conv, Reshape to (batch, the rest) by the size that Shape gives, and a Gemm."""
    b = Builder()
    t = b.conv("x", (4, 2))
    rows = b.node("Gather", b.node("Shape", t), b.constant(np.array([0])), axis=0)
    flat = b.node("Reshape", t, b.node("Concat", rows, b.constant(np.array([-1])), axis=0))
    b.node("Gemm", flat, b.random(72, 5), output="y")
    return b.model({"x": [batch, 4, 6, 6]}, ["y"])


def shrinking(size):
    b = Builder()
    b.conv(b.conv("x", (4, 3), pads=[0] * 4), (3, 2), pads=[0] * 4, output="y")
    proto = b.model({"x": [1, 4, 9, 9]}, ["y"])
    for value in (*proto.graph.input, *proto.graph.output):
        for dim in value.type.tensor_type.shape.dim[2:]:
            dim.dim_value = size
    return proto


def sizes(value):
    return [d.dim_value if d.HasField("dim_value") else None for d in value.type.tensor_type.shape.dim]


def test_a_size_of_minus_one_is_open(load):
    loaded = load(flattened(-1))
    assert "Shape" in node_types(loaded)
    (spec,) = input_specs(loaded.model)
    assert (spec.shape, spec.batched) == ((None, 4, 6, 6), True)
    for batch in (1, 3):
        assert_computes_the_same(loaded, flattened("N"), batch)


def test_the_interface_keeps_it(load):
    written = onnx.load_model_from_string(load(flattened(-1)).serialized())
    assert sizes(written.graph.input[0]) == [-1, 4, 6, 6]


def test_where_the_checker_would_compute_with_it_the_size_stays_unknown(load):
    written = onnx.load_model_from_string(load(shrinking(-1)).serialized())
    onnx.checker.check_model(written, full_check=True)
    assert sizes(written.graph.input[0]) == [1, 4, None, None]
    with pytest.raises(onnx.shape_inference.InferenceError):
        onnx.checker.check_model(shrinking(-1), full_check=True)
