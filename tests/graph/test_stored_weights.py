"""Weights that a file stores as integers are taken as the float numbers that they stand for."""

from __future__ import annotations

import numpy as np
import pytest
from networks import Builder, feeds_of, run_literally, sqnr, write
from onnx import TensorProto, helper, numpy_helper

from distq.errors import ModelError
from distq.graph.load import load_model
from distq.graph.placement import make_plan
from distq.targets import find_target

STEPS = np.array([[0.1, 0.2], [0.3, 0.05], [0.02, 0.4], [0.1, 0.1]], np.float32)
INTEGERS = np.arange(-16, 16).reshape(4, 8) // 2
STORED = {
    "one scale": (INTEGERS.astype(np.int8), np.float32(0.1), None, {}),
    "a scale a column": (INTEGERS.astype(np.int8), np.linspace(0.1, 0.4, 8, dtype=np.float32), None, {}),
    "a scale a row": (INTEGERS.astype(np.uint8), STEPS[:, 0], np.full(4, 3, np.uint8), {"axis": 0}),
    "rows from the end": (INTEGERS.astype(np.int8), STEPS[:, 0], None, {"axis": -2}),
    "float16": (INTEGERS.astype(np.int8), STEPS[:, 0].astype(np.float16), None, {"axis": 0}),
}


def network(parts, attributes, opset=13):
    """Rows times dequantized weights, and times float ones behind; parts are the inputs' tensors."""
    b = Builder(1)
    b.node("DequantizeLinear", *(t.name for t in parts), output="w", name="stored", **attributes)
    weight = b.node("Cast", "w", to=TensorProto.FLOAT)
    b.node("MatMul", b.node("MatMul", "x", weight, output="h"), b.random(8, 3), output="y")
    made = b.model({"x": [2, 4]}, ["y"], opset)
    made.graph.initializer.extend(parts)
    return made


def tensors(integers, scale, zero_point):
    arrays = {"q": integers, "s": np.asarray(scale), "z": zero_point}
    return [numpy_helper.from_array(a, name) for name, a in arrays.items() if a is not None]


@pytest.mark.parametrize("kind", STORED)
def test_the_network_computes_the_same_and_all_its_layers_are_quantized(tmp_path, kind):
    *arrays, attributes = STORED[kind]
    assert_taken(tmp_path, network(tensors(*arrays), attributes, 19 if kind == "float16" else 13))


def test_integers_of_4_bits_with_a_scale_for_each_block(tmp_path):
    packed = helper.make_tensor("q", TensorProto.INT4, INTEGERS.shape, INTEGERS.ravel())
    scale = numpy_helper.from_array(STEPS, "s")
    assert_taken(tmp_path, network([packed, scale], {"axis": 1, "block_size": 4}, 21))


def test_weights_that_are_rounded_in_the_file(tmp_path):
    b = Builder(1)
    scale, zero = b.constant(np.linspace(0.02, 0.05, 8, dtype=np.float32)), b.constant(np.full(8, 3, np.int8))
    integers = b.node("QuantizeLinear", b.random(4, 8), scale, zero, axis=1)
    weight = b.node("DequantizeLinear", integers, scale, zero, axis=1)
    b.node("MatMul", b.node("MatMul", "x", weight, output="h"), b.random(8, 3), output="y")
    assert_taken(tmp_path, b.model({"x": [2, 4]}, ["y"]))


def assert_taken(folder, proto):
    loaded = load_model(write(folder, proto))
    assert len(make_plan(loaded.model, find_target("ort"), "auto").layers) == 2
    assert any("1 weights are stored as integers" in note for note in loaded.notes)
    feeds = feeds_of(proto)
    found, wanted = (list(run_literally(m, feeds).values()) for m in (loaded.serialized(), proto))
    assert sqnr(found, wanted) > 60
    assert not any("stored" in note for note in load_model(write(folder, plain())).notes)


def plain():
    b = Builder(1)
    b.node("MatMul", "x", b.random(4, 3), output="y")
    return b.model({"x": [2, 4]}, ["y"])


def test_integers_that_a_caller_may_replace_stay(tmp_path):
    proto = network(tensors(*STORED["one scale"][:3]), {})
    proto.graph.input.append(helper.make_tensor_value_info("q", TensorProto.INT8, [4, 8]))
    with pytest.raises(ModelError, match="quantized already, it has DequantizeLinear"):
        load_model(write(tmp_path, proto))


def test_quantized_activations_are_refused_as_before(tmp_path):
    proto = network(tensors(*STORED["one scale"][:3]), {})
    proto.graph.node.insert(0, helper.make_node("QuantizeLinear", ["x", "s"], ["i"]))
    proto.graph.node.insert(1, helper.make_node("DequantizeLinear", ["i", "s"], ["f"]))
    proto.graph.node[4].input[0] = "f"
    with pytest.raises(ModelError, match="quantized already"):
        load_model(write(tmp_path, proto))
