"""Forms of a model that ONNX Runtime runs and that are rewritten before anything else."""

import numpy as np
import onnx
import pytest
from networks import (
    Builder,
    Quantized,
    assert_computes_the_same,
    feeds_of,
    node_types,
    run_literally,
)
from onnx import TensorProto, helper, numpy_helper

from distq.graph import plain

IMAGE = [1, 4, 6, 6]


def two_layers(opset=13):
    b = Builder()
    b.conv(b.node("Relu", b.conv("x", (4, 4)), output="inner"), (4, 3), output="y")
    return b.model({"x": IMAGE}, ["y"], opset)


@pytest.mark.parametrize("coordinates", [False, True])
def test_sparse_constants_become_dense(load, coordinates):
    places = np.array([3, 12, 17])
    indices = np.stack(np.unravel_index(places, (4, 5)), 1) if coordinates else places
    values = np.array([1, -2, 3], np.float32)
    b = Builder()
    t = b.node("MatMul", "x", "listed")
    b.node("Constant", output="inline", sparse_value=sparse(values, indices, ""))
    b.node("MatMul", t, b.node("Transpose", "inline"), output="y")
    proto = b.model({"x": [2, 4]}, {"y": [2, 4]})
    proto.graph.sparse_initializer.append(sparse(values, indices, "listed"))
    loaded = load(proto)
    assert node_types(loaded) == ["Gemm", "Gemm"]
    assert_computes_the_same(loaded, proto)
    assert Quantized(loaded).exported


def sparse(values, indices, name):
    return helper.make_sparse_tensor(
        numpy_helper.from_array(values, name), numpy_helper.from_array(indices.astype(np.int64)), [4, 5]
    )


def test_a_large_sparse_constant_stays_as_it_is(monkeypatch):
    monkeypatch.setattr(plain, "MOST_ELEMENTS", 10)
    proto = two_layers()
    proto.graph.sparse_initializer.append(sparse(np.ones(1, np.float32), np.array([1]), "s"))
    assert len(plain.make_plain(proto).graph.sparse_initializer) == 1


@pytest.mark.parametrize(("opset", "own"), [(11, 11), (13, 13), (17, 13), (18, 18), (21, 13)])
def test_a_function_is_written_out_at_the_opset_of_the_model(load, opset, own):
    b = Builder()
    t = b.node("Block", "x", b.random(4, 4, 3, 3), domain="mine")
    b.conv(t, (4, 3), output="y")
    proto = b.model({"x": IMAGE}, {"y": [1, 3, 6, 6]}, opset, domains=["mine"])
    nodes = [
        helper.make_node("Conv", ["p", "w"], ["c"], pads=[1] * 4),
        helper.make_node("Relu", ["c"], ["q"]),
    ]
    function = helper.make_function("mine", "Block", ["p", "w"], ["q"], nodes, [helper.make_opsetid("", own)])
    proto.functions.append(function)
    loaded = load(proto)
    assert node_types(loaded) == ["Conv", "Relu", "Conv"]
    assert_computes_the_same(loaded, proto)


def test_the_domain_has_two_names(load):
    proto = two_layers()
    proto.opset_import[0].domain = "ai.onnx"
    proto.graph.node[0].domain = "ai.onnx"
    loaded = load(proto)
    assert len(Quantized(loaded).plan.layers) == 2
    assert_computes_the_same(loaded, two_layers())


@pytest.mark.parametrize("shape", [[7, 4, 6, 6], [1, 9, 6, 6], [1, 4]])
def test_stored_shapes_are_not_believed(load, shape):
    proto = two_layers()
    proto.graph.value_info.append(helper.make_tensor_value_info("inner", TensorProto.FLOAT, shape))
    loaded = load(proto)
    inner = next(v for node in loaded.model.graph for v in node.outputs if v.name == "inner")
    assert list(inner.shape) == IMAGE
    onnx.checker.check_model(onnx.load_model_from_string(Quantized(loaded).exported), full_check=True)


def test_the_rank_of_what_a_foreign_operator_writes_is_believed(load):
    b = Builder()
    t = b.node("Gelu", "x", domain="com.microsoft", output="t")
    b.node("MatMul", t, b.random(4, 2), output="y")
    proto = b.model({"x": [3, 4]}, {"y": [3, 2]}, 17, domains=["com.microsoft"])
    proto.graph.value_info.append(helper.make_tensor_value_info("t", TensorProto.FLOAT, [5, 4]))
    loaded = load(proto)
    assert node_types(loaded) == ["Gelu", "Gemm"]
    assert_computes_the_same(loaded, proto)


def split_and_joined(b, t):
    parts = b.node("SplitToSequence", t, b.constant(np.int64(2)), axis=1)
    return b.node("ConcatFromSequence", parts, axis=1)


def picked(b, t):
    parts = b.node("SequenceConstruct", t, b.node("Neg", t))
    return b.node("SequenceAt", parts, b.constant(np.int64(1)))


def wrapped(b, t):
    return b.node("OptionalGetElement", b.node("Optional", t))


@pytest.mark.parametrize("between", [split_and_joined, picked, wrapped])
def test_sequences_and_optionals_are_carried_through(load, between):
    b = Builder()
    b.conv(between(b, b.conv("x", (4, 4))), (4, 3), output="y")
    proto = b.model({"x": IMAGE}, {"y": [1, 3, 6, 6]}, 18)
    loaded = load(proto)
    assert_computes_the_same(loaded, proto)
    quantized = Quantized(loaded)
    assert len(quantized.plan.layers) == 2
    assert quantized.sqnr() > 25


def test_strings_are_carried_through(load):
    b = Builder()
    scores = b.node("Gemm", "x", b.random(4, 3), output="y")
    labels = numpy_helper.from_array(np.array(["cat", "dog", "cow"], object), "labels")
    best = b.node("ArgMax", scores, axis=1, keepdims=0)
    b.node("Gather", "labels", best, output="label")
    b.node("Identity", "labels", output="all")
    proto = b.model({"x": [1, 4]}, ["y"], 17)
    proto.graph.initializer.append(labels)
    for name, size in (("label", 1), ("all", 3)):
        proto.graph.output.append(helper.make_tensor_value_info(name, TensorProto.STRING, [size]))
    feeds = feeds_of(proto)
    wanted, found = run_literally(proto, feeds), run_literally(Quantized(load(proto)).exported, feeds)
    assert found["label"] == wanted["label"]
    assert list(found["all"]) == ["cat", "dog", "cow"]
