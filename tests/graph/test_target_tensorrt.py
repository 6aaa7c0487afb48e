"""Target tensorrt: int8 with zero point 0 in front of compute layers, and biases in float."""

import numpy as np
import onnx
import onnxruntime
import pytest
from networks import Builder, Quantized, run_literally
from onnx import numpy_helper
from zoo import NETWORKS, branched

from distq.errors import UsageError
from distq.graph.names import Names
from distq.graph.placement import make_plan
from distq.graph.state import bias_constants, quantizer_constants
from distq.targets import find_target
from distq.targets.tensorrt import TENSORRT

IMAGE = [1, 4, 8, 8]


def graph_of(quantized):
    return onnx.load_model_from_string(quantized.exported).graph


def constants_of(graph):
    return {t.name: numpy_helper.to_array(t) for t in graph.initializer}


@pytest.mark.parametrize("name", NETWORKS)
def test_every_quantizer_is_int8_around_zero_and_no_bias_is_quantized(load, name):
    graph = graph_of(Quantized(load(NETWORKS[name]()), "tensorrt"))
    numbers = constants_of(graph)
    zero_points = [
        numbers[n.input[2]] for n in graph.node if n.op_type in {"QuantizeLinear", "DequantizeLinear"}
    ]
    assert zero_points
    assert all(array.dtype == np.int8 and not array.any() for array in zero_points)
    assert all(array.dtype != np.int32 for array in numbers.values())


@pytest.mark.parametrize("name", NETWORKS)
def test_the_exported_network_computes_what_float_does_but_for_rounding(load, name):
    assert Quantized(load(NETWORKS[name]()), "tensorrt").sqnr() > 25


@pytest.mark.parametrize("name", ["many branches", "SiLU", "Gemm, transposed", "MatMul of two tensors"])
def test_quantizers_stand_where_those_of_openvino_do(load, name):
    loaded = load(NETWORKS[name]())
    groups = [
        [q.tensors for q in make_plan(loaded.model, find_target(target), "auto").quantizers]
        for target in ("tensorrt", "openvino")
    ]
    assert groups[0] == groups[1]


def test_auto_is_symmetric(load):
    loaded = load(branched())
    assert (
        Quantized(loaded, "tensorrt", "auto").exported == Quantized(loaded, "tensorrt", "symmetric").exported
    )
    assert make_plan(loaded.model, TENSORRT, "auto").scheme == "symmetric"


def test_biases_are_float_initializers_that_layers_read_directly(load):
    quantized = Quantized(load(branched()), "tensorrt")
    graph = graph_of(quantized)
    numbers = constants_of(graph)
    layers = [n for n in graph.node if n.op_type in {"Conv", "Gemm"}]
    assert layers
    biases = {layer.node: quantized.state.biases[layer.name] for layer in quantized.plan.layers}
    for node in layers:
        assert numbers[node.input[2]].dtype == np.float32
        np.testing.assert_array_equal(numbers[node.input[2]], biases[node.name].astype(np.float32))


def test_a_bias_is_kept_exactly_whatever_the_scales(load):
    """Weight scales leave room for an int32 bias, which ONNX Runtime makes of a float one by itself."""
    b = Builder(1)
    weight = np.full((2, 4, 1, 1), 1e-9, np.float32)
    inputs = ["x", b.constant(weight), b.constant(np.array([1000.0, -1000.0], np.float32))]
    b.node("Conv", *inputs, output="y")
    quantized = Quantized(load(b.model({"x": IMAGE}, ["y"])), "tensorrt")
    found = run_literally(quantized.exported, quantized.feeds[0])["y"]
    np.testing.assert_array_equal(found[:, 0], 1000.0)
    plain = onnxruntime.InferenceSession(quantized.exported).run(None, quantized.feeds[0])[0]
    np.testing.assert_allclose(plain[:, 0], 1000.0, rtol=1e-4)


def test_a_bias_does_not_follow_the_quantizer_in_front_of_it(load):
    quantized = Quantized(load(branched()), "tensorrt")
    plan, state, names = quantized.plan, quantized.state, Names.free_in(quantized.loaded.model)
    for quantizer in plan.quantizers:
        found = quantizer_constants(plan, state, names, quantizer.name)
        assert set(found) == {names.scale(quantizer.name), names.zero_point(quantizer.name)}
    layer = plan.layers[0]
    assert list(bias_constants(plan, state, names, layer)) == [names.float_bias(layer.name)]


@pytest.mark.parametrize("opset", [13, 17, 21])
def test_the_opset_is_that_of_the_float_model(load, opset):
    b = Builder(1)
    b.conv("x", (4, 3), output="y")
    exported = Quantized(load(b.model({"x": IMAGE}, ["y"], opset)), "tensorrt").exported
    assert onnx.load_model_from_string(exported).opset_import[0].version == opset


def test_16_bits_are_refused(load):
    with pytest.raises(UsageError, match="tensorrt has no 16-bit activations"):
        make_plan(load(branched()).model, TENSORRT, "auto", int16=["low"])


def test_a_tensor_of_the_user_that_is_called_like_a_float_bias_is_kept_apart(load):
    b = Builder(1)
    b.conv(b.node("LeakyRelu", b.conv("x", (4, 4)), output="y_bias_float", alpha=0.5), (4, 3), output="y")
    quantized = Quantized(load(b.model({"x": IMAGE}, ["y"])), "tensorrt")
    assert "y_bias_float" in {name for n in graph_of(quantized).node for name in n.output}
    assert quantized.sqnr() > 25
