import numpy as np
import onnx
import pytest
from networks import Builder, Quantized
from onnx import numpy_helper
from zoo import branched

from distq.graph.names import Names
from distq.graph.state import constants, initial_state, quantizer_constants
from distq.quant.scheme import encode

IMAGE = [1, 4, 8, 8]


def test_names_are_plain_where_nothing_is_in_the_way(load):
    assert Names.free_in(load(branched()).model) == Names("")


def test_all_constants_are_in_the_exported_model_with_these_values(load):
    quantized = Quantized(load(branched()))
    wanted = constants(quantized.plan, quantized.state, Names())
    stored = onnx.load_model_from_string(quantized.exported).graph.initializer
    found = {t.name: numpy_helper.to_array(t) for t in stored}
    assert wanted.keys() <= found.keys()
    for name, array in wanted.items():
        assert found[name].dtype == array.dtype
        np.testing.assert_array_equal(found[name], array)


def test_what_follows_a_quantizer_is_all_that_changes_with_it(load):
    quantized = Quantized(load(branched()))
    plan, state = quantized.plan, quantized.state
    for quantizer in plan.quantizers:
        own = state.encodings[quantizer.name]
        other = state.with_encoding(
            quantizer.name, encode(-3 * own.scale, 200 * own.scale, 8, symmetric=False)
        )
        before, after = constants(plan, state, Names()), constants(plan, other, Names())
        changed = {name for name in before if not np.array_equal(before[name], after[name])}
        following = quantizer_constants(plan, other, Names(), quantizer.name)
        assert changed <= following.keys()
        for name, array in following.items():
            np.testing.assert_array_equal(array, after[name])


def test_a_new_state_leaves_the_old_one_as_it_was(load):
    quantized = Quantized(load(branched()))
    state, name = quantized.state, quantized.plan.quantizers[0].name
    before = state.encodings[name]
    changed = state.with_encoding(name, encode(-9, 9, 8, symmetric=True))
    layer = quantized.plan.layers[0].name
    moved = state.with_biases({layer: state.biases[layer] + 1})
    assert state.encodings[name] == before != changed.encodings[name]
    assert changed.weights is state.weights
    np.testing.assert_array_equal(moved.biases[layer], state.biases[layer] + 1)


def test_dequantized_weights_are_within_half_a_step_of_the_float_ones(load):
    quantized = Quantized(load(branched()))
    for layer in quantized.plan.layers:
        weight = quantized.state.weights[layer.name]
        original = quantized.loaded.model.graph.initializers[layer.weight].const_value.numpy()
        shape = [-1 if i == layer.axis else 1 for i in range(original.ndim)]
        half = weight.scale.reshape(shape) / 2
        assert (abs(weight.dequantized() - original) <= half * 1.0001).all()


def test_tiny_weights_beside_a_big_bias_keep_the_bias(load):
    b = Builder()
    weight = b.initializers[b.random(4, 4, 3, 3, name="w")]
    weight[1] *= np.float32(1e-12)
    weight[2] = 0
    bias = b.initializers[b.constant(np.array([0.1, 5, -7, 0], np.float32), "b")]
    b.node("Conv", "x", "w", "b", output="y", pads=[1] * 4)
    quantized = Quantized(load(b.model({"x": IMAGE}, ["y"])))
    numbers = constants(quantized.plan, quantized.state, Names())
    steps = numbers["y_bias_scale"].astype(np.float64)
    kept = numbers["y_bias_quantized"] * steps
    assert (abs(kept - bias) <= steps / 2 * 1.000001).all()
    assert kept[1] == pytest.approx(5, rel=1e-6)
    assert abs(numbers["y_bias_quantized"].astype(np.int64)).max() < 2**30  # room for smaller thresholds
    assert quantized.sqnr() > 30


def test_only_layers_that_can_hold_a_bias_have_one(load):
    b = Builder()
    product = b.node("MatMul", "x", b.random(2, 8, 6))
    b.node("Gemm", b.node("Reshape", product, b.constant([6, 6])), b.random(6, 5), output="y")
    quantized = Quantized(load(b.model({"x": [2, 3, 8]}, ["y"])))
    state = initial_state(quantized.loaded.model, quantized.plan, quantized.state.encodings)
    assert set(state.weights) == {"t0", "y"}
    assert set(state.biases) == {"y"}
    np.testing.assert_array_equal(state.biases["y"], np.zeros(5))
