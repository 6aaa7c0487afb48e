"""A network is loaded so that it computes what the user's file does."""

import numpy as np
import onnx
import onnx_ir as ir
import pytest
from compared_networks import SPECS, network
from onnx import TensorProto, helper, numpy_helper

from distq.errors import ModelError
from distq.graph import load
from distq.replica.reference import Reference, random_feeds
from distq.replica.session import Session
from distq.replica.worker import WorkerSettings
from distq.run.loading import checked

SETTINGS = WorkerSettings()


class Mistaken(ir.passes.InPlacePass):
    """A rewrite with a fault: every Relu becomes an Abs."""

    def call(self, model):
        for node in model.graph:
            node.op_type = "Abs" if node.op_type == "Relu" else node.op_type
        return ir.passes.PassResult(model, modified=True)


@pytest.fixture
def path(tmp_path):
    onnx.save(network(), tmp_path / "network.onnx")
    return tmp_path / "network.onnx"


def test_a_rewrite_that_changes_nothing_is_kept(path):
    feeds = random_feeds(SPECS)
    assert checked(load.load_model(path), feeds, SETTINGS).without == frozenset()


def test_a_rewrite_at_fault_is_left_out(path, monkeypatch):
    monkeypatch.setitem(load.OPTIONAL_STEPS, "Mistaken", Mistaken)
    found = checked(load.load_model(path), random_feeds(SPECS), SETTINGS)
    assert found.without == {"Mistaken"}
    assert "Relu" in [node.op_type for node in found.model.graph]


def test_a_rewrite_that_raises_is_left_out(path, monkeypatch):
    def broken():
        raise RuntimeError("broken")

    monkeypatch.setitem(load.OPTIONAL_STEPS, "Broken", broken)
    assert load.load_model(path).without == {"Broken"}


def test_a_conversion_at_fault_is_refused_with_the_operator(path, monkeypatch):
    def wrong(proto, _):
        proto.graph.node[1].op_type = "Abs"
        return proto

    monkeypatch.setattr(load, "converted", wrong)
    with pytest.raises(ModelError, match="Relu of opset 17") as caught:
        checked(load.load_model(path), random_feeds(SPECS), SETTINGS)
    assert "output y" in str(caught.value)


def test_what_onnx_runtime_does_not_run_is_refused(tmp_path):
    path = tmp_path / "network.onnx"
    onnx.save(network("Mystery", domain="com.microsoft"), path)
    with pytest.raises(ModelError, match="does not run") as caught:
        checked(load.load_model(path), random_feeds(SPECS), SETTINGS)
    assert "Mystery" in str(caught.value)


class Rounding(ir.passes.InPlacePass):
    """A rewrite that changes weights in their last bits."""

    def call(self, model):
        weight = model.graph.initializers["a"]
        columns = 1 + np.arange(4) * 1e-6
        weight.const_value = ir.tensor((weight.const_value.numpy() * columns).astype(np.float32), name="a")
        return ir.passes.PassResult(model, modified=True)


def test_what_rounding_alone_decides_is_no_fault(tmp_path, monkeypatch):
    """Which of four equal scores is the largest, and what is then picked."""
    weights = [np.ones((4, 4)), np.diag([1.0, 10.0, 100.0, 1000.0])]
    tensors = [numpy_helper.from_array(w.astype(np.float32), n) for w, n in zip(weights, "ab", strict=True)]
    nodes = [
        helper.make_node("MatMul", ["x", "a"], ["t"]),
        helper.make_node("ArgMax", ["t"], ["best"], axis=1, keepdims=0),
        helper.make_node("Gather", ["b", "best"], ["y"]),
    ]
    ends = [helper.make_tensor_value_info(n, TensorProto.FLOAT, ["N", 4]) for n in "xy"]
    graph = helper.make_graph(nodes, "network", ends[:1], ends[1:], tensors)
    proto = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.save(proto, tmp_path / "network.onnx")
    monkeypatch.setitem(load.OPTIONAL_STEPS, "Rounding", Rounding)
    loaded = load.load_model(tmp_path / "network.onnx")
    feeds = [{"x": np.abs(feed["x"])} for feed in random_feeds(SPECS)]
    given, made = (Session(model, SETTINGS) for model in (proto.SerializeToString(), loaded.serialized()))
    assert Reference(given, feeds, [given.run(f) for f in feeds]).differing(made) == ("y",)
    assert checked(loaded, feeds, SETTINGS) is loaded
