"""Networks with a part put back in float."""

import numpy as np
import onnx
import pytest
from networks import SETTINGS, Quantized, run_literally
from zoo import NETWORKS, branched

from distq.graph.names import Names
from distq.graph.placement import make_plan
from distq.graph.qdq import export
from distq.graph.variants import FloatPart, put_back, separable
from distq.replica.session import Session
from distq.targets import find_target

TARGETS = ["ort", "openvino", "tensorrt"]


class Variant:
    """A quantized network, every Relu and Clip in it, and its outputs with parts in float."""

    def __init__(self, loaded, target):
        self.quantized = Quantized(loaded, target)
        self.plan = separable(self.quantized.plan)
        self.names = Names.free_in(loaded.model)
        self.exported = onnx.load_model_from_string(export(loaded.model, self.plan, self.quantized.state))
        self.original = onnx.load_model_from_string(loaded.serialized())

    def model(self, part):
        return put_back(self.exported, self.original, part)

    def integers(self, names):
        return tuple(self.names.quantized(t) for t in names)

    def outputs(self, model, feeds):
        return Session(model, SETTINGS, fused=True).run(feeds)


@pytest.mark.parametrize(
    ("name", "target"),
    [*((name, "ort") for name in NETWORKS), ("many branches", "openvino"), ("many branches", "tensorrt")],
)
def test_with_everything_put_back_it_is_the_float_network(load, name, target):
    variant = Variant(load(NETWORKS[name]()), target)
    model = variant.model(FloatPart(variant.integers(variant.plan.by_tensor), variant.plan.layers))
    feeds = variant.quantized.feeds[0]
    wanted = run_literally(variant.original, feeds)
    for found, output in zip(variant.outputs(model, feeds), wanted.values(), strict=True):
        np.testing.assert_allclose(found, output, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("target", TARGETS)
def test_of_what_is_put_back_no_quantizer_and_no_integer_weight_is_left(load, target):
    variant = Variant(load(branched()), target)
    part = FloatPart(variant.integers(variant.plan.by_tensor), variant.plan.layers)
    graph = onnx.load_model_from_string(variant.model(part)).graph
    assert not {node.op_type for node in graph.node} & {"QuantizeLinear", "DequantizeLinear"}
    assert not {t.data_type for t in graph.initializer} & {onnx.TensorProto.INT8, onnx.TensorProto.UINT8}


@pytest.mark.parametrize("target", TARGETS)
def test_with_nothing_put_back_it_is_as_it_was(load, target):
    variant = Variant(load(branched()), target)
    feeds = variant.quantized.feeds[0]
    found = run_literally(variant.model(FloatPart()), feeds)
    for name, output in run_literally(variant.exported, feeds).items():
        np.testing.assert_array_equal(found[name], output)


@pytest.mark.parametrize("target", TARGETS)
def test_a_tensor_put_back_is_no_longer_rounded(load, target):
    """What its readers see is then the float tensor, not one of 256 values."""
    variant = Variant(load(branched()), target)
    model = onnx.load_model_from_string(variant.model(FloatPart(variant.integers(["excited"]))))
    by_output = {name: node for node in model.graph.node for name in node.output}
    assert by_output["excited_dequantized"].op_type == "Identity"
    assert list(by_output["excited_dequantized"].input) == ["excited"]
    others = [n for n in model.graph.node if n.op_type == "DequantizeLinear"]
    assert all(n.output[0] != "excited_dequantized" for n in others)


@pytest.mark.parametrize("float_inputs", [True, False])
def test_a_layer_put_back_has_its_float_weights(load, float_inputs):
    variant = Variant(load(branched()), "openvino")
    layer = next(layer for layer in variant.plan.layers if layer.name == "boxes")
    part = FloatPart(layers=(layer,), float_inputs=float_inputs)
    model = onnx.load_model_from_string(variant.model(part))
    node = next(n for n in model.graph.node if n.name == layer.node)
    data = "joined" if float_inputs else "joined_dequantized"
    assert list(node.input) == [data, layer.weight, layer.bias]


@pytest.mark.parametrize("target", TARGETS)
def test_a_plan_with_float_layers_leaves_out_what_only_they_read(load, target):
    loaded = load(branched())
    full = make_plan(loaded.model, find_target(target), "auto")
    plan = make_plan(loaded.model, find_target(target), "auto", float_layers=["boxes"])
    assert [layer.name for layer in full.layers if layer not in plan.layers] == ["boxes"]
    assert ("boxes", "kept in float by --float-budget") in plan.float_nodes
    gone = full.by_tensor.keys() - plan.by_tensor.keys()
    assert gone == ({"boxes"} if target == "ort" else {"joined"})
    assert {q.name for q in plan.quantizers} <= {q.name for q in full.quantizers}


@pytest.mark.parametrize("target", TARGETS)
def test_a_network_with_any_one_layer_in_float_computes_what_float_does(load, target):
    loaded = load(branched())
    for layer in make_plan(loaded.model, find_target(target), "auto").layers:
        quantized = Quantized(loaded, target, samples=2, float_layers=[layer.name])
        assert layer.node not in {kept.node for kept in quantized.plan.layers}
        assert quantized.sqnr() > 20
