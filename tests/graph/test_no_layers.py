"""A network without a layer for INT8 is told the true reason."""

import numpy as np
import pytest
from networks import Builder
from onnx import TensorProto, helper

from distq.errors import ModelError
from distq.graph.plan import make_plan
from distq.targets.ort import ORT


def message(loaded):
    with pytest.raises(ModelError) as caught:
        make_plan(loaded.model, ORT, "auto")
    text = str(caught.value)
    assert "\n" not in text
    return text


def test_there_is_no_layer(load):
    b = Builder()
    b.node("Relu", "x", output="y")
    assert "no Conv, ConvTranspose, Gemm or MatMul" in message(load(b.model({"x": [1, 4]}, ["y"])))


def test_layers_are_in_half_precision(load):
    b = Builder()
    half = b.node("Cast", "x", to=TensorProto.FLOAT16)
    weight = b.constant(np.ones((4, 4), np.float16))
    b.node("Cast", b.node("MatMul", half, weight), output="y", to=TensorProto.FLOAT)
    assert "not float32 (1)" in message(load(b.model({"x": [1, 4]}, ["y"])))


def test_weights_are_computed(load):
    b = Builder()
    b.node("Gemm", "x", b.node("Transpose", "x"), output="y")
    assert "computes its own weights" in message(load(b.model({"x": [1, 4]}, ["y"])))


def test_layers_are_inside_a_loop(load):
    b = Builder()
    b.random(4, 4, name="w")
    value = helper.make_tensor_value_info
    state, kind = TensorProto.FLOAT, TensorProto.BOOL
    body = helper.make_graph(
        [helper.make_node("MatMul", ["s", "w"], ["t"]), helper.make_node("Identity", ["going"], ["on"])],
        "body",
        [value("i", TensorProto.INT64, []), value("going", kind, []), value("s", state, [1, 4])],
        [value("on", kind, []), value("t", state, [1, 4])],
    )
    b.node("Loop", b.constant(np.int64(3)), b.constant(np.True_), "x", output="y", body=body)
    text = message(load(b.model({"x": [1, 4]}, {"y": [1, 4]}, 17)))
    assert "inside Loop" in text
    assert "no Conv" not in text
