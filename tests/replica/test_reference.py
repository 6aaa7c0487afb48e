"""The network that distq makes of a file is compared with the file."""

import numpy as np
import pytest
from networks import SETTINGS
from onnx import TensorProto, helper, numpy_helper

from distq.data.samples import InputSpec
from distq.errors import ExecutionError
from distq.replica.reference import agree, check_same, first_at_fault, random_feeds

SPECS = [InputSpec("x", (None, 4), "float32")]


def network(op="Relu", opset=17, domain="", **attributes):
    rng = np.random.default_rng(0)
    weights = [numpy_helper.from_array(rng.normal(size=(4, 4)).astype(np.float32), n) for n in "ab"]
    nodes = [
        helper.make_node("MatMul", ["x", "a"], ["t"]),
        helper.make_node(op, ["t"], ["u"], domain=domain, **attributes),
        helper.make_node("MatMul", ["u", "b"], ["y"]),
    ]
    ends = [helper.make_tensor_value_info(n, TensorProto.FLOAT, ["N", 4]) for n in "xy"]
    graph = helper.make_graph(nodes, "network", ends[:1], ends[1:], weights)
    opsets = [helper.make_opsetid("", opset), helper.make_opsetid("mine", 1)]
    return helper.make_model(graph, opset_imports=opsets, ir_version=8)


def test_an_output_that_differs_is_named():
    feeds = random_feeds(SPECS)
    models = [network(op).SerializeToString() for op in ("Relu", "Abs")]
    assert check_same(*models, feeds, SETTINGS) == ("y",)
    assert check_same(models[0], models[0], feeds, SETTINGS) == ()
    assert first_at_fault(*models, feeds[0], SETTINGS) == "Relu"


def test_a_network_that_does_not_run_cannot_be_compared():
    model = network("Mystery", domain="mine").SerializeToString()
    with pytest.raises(ExecutionError, match="Mystery"):
        check_same(model, model, [], SETTINGS)


def test_a_network_that_does_not_repeat_itself_is_not_compared():
    model = network("RandomNormalLike").SerializeToString()
    assert check_same(model, model, random_feeds(SPECS), SETTINGS) == ()


def test_rounding_is_no_difference_and_another_value_is():
    one = np.random.default_rng(0).normal(size=1000).astype(np.float32)
    assert agree(one, one * np.float32(1 + 1e-6))
    assert not agree(one, one * np.float32(1.01))
    assert not agree(one, one.astype(np.float64))
    assert not agree(one, one[None])
    assert agree(np.array([1.0, np.nan, np.inf]), np.array([1.0, np.nan, np.inf]))
    assert not agree(np.ones(3), np.array([1.0, np.nan, 1.0]))
    assert agree(np.arange(1000), np.r_[np.arange(999), 0])
    assert not agree(np.arange(10), np.arange(10)[::-1])


def test_sequences_maps_strings_and_nothing_are_compared_too():
    words, numbers = np.array(["a", "b"], object), np.ones(2, np.float32)
    assert agree([numbers, words], [numbers, words])
    assert not agree([numbers], [numbers, numbers])
    assert not agree(words, words[::-1])
    assert agree([{"a": 1.0}], [{"a": 1.0}])
    assert not agree({"a": 1.0}, {"a": 2.0})
    assert agree(None, None)
    assert not agree(None, numbers)


def test_random_feeds_fit_their_inputs_and_repeat():
    specs = [*SPECS, InputSpec("ids", (2, None), "int64"), InputSpec("mask", (), "bool")]
    first, again = random_feeds(specs), random_feeds(specs)
    assert {n: (a.shape, a.dtype.name) for n, a in first[0].items()} == {
        "x": ((1, 4), "float32"),
        "ids": ((2, 32), "int64"),
        "mask": ((), "bool"),
    }
    assert all(np.array_equal(a[n], b[n]) for a, b in zip(first, again, strict=True) for n in a)
