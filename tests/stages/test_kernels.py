"""What is reported as float is what ONNX Runtime computes in float."""

from __future__ import annotations

import networks
import numpy as np
import onnx
import pytest
from networks import Builder, Quantized
from zoo import NETWORKS, between

from distq.stages.kernels import float_layers, integer_kernels


def listed(folder, proto, target="ort", **options):
    """Names and reasons, and the operators that run."""
    quantized = Quantized(networks.load(folder, proto), target, samples=1, **options)
    found = float_layers(quantized.loaded.model, quantized.plan, quantized.exported)
    return {layer.name: layer.reason for layer in found}, set(integer_kernels(quantized.exported).values())


def where():
    b = Builder(1)
    a, c = b.conv("x", (4, 4)), b.conv("x", (4, 4))
    b.conv(b.node("Where", b.constant(np.eye(8, dtype=bool)), a, c, output="h"), (4, 3), output="y")
    return b.model({"x": [1, 4, 8, 8]}, ["y"])


def recurrent_states():
    """A MatMul, an LSTM of which only the last states are read, and another MatMul."""
    b = Builder(1)
    inputs = [b.node("MatMul", "x", b.random(4, 4)), b.random(1, 8, 4), b.random(1, 8, 2)]
    b.nodes.append(onnx.helper.make_node("LSTM", inputs, ["", "last", "cell"], hidden_size=2))
    rows = b.node("Squeeze", "last", b.constant(np.array([0])))
    b.node("MatMul", rows, b.random(2, 3), output="y")
    return b.model({"x": [5, 1, 4]}, ["y"])


def test_a_node_without_its_first_output_is_listed(tmp_path):
    found, _ = listed(tmp_path, recurrent_states())
    assert "LSTM" in found["last"]


def normalized():
    """MatMul - layer normalization, node by node - MatMul, and a Gelu behind."""
    b = Builder(1)
    a = b.node("MatMul", "x", b.random(8, 8), output="a")
    centred = b.node("Sub", a, b.node("ReduceMean", a, axes=[-1], output="mean"), output="centred")
    power = b.node("Pow", centred, b.constant(np.float32(2)), output="power")
    spread = b.node("Add", b.node("ReduceMean", power, axes=[-1]), b.constant(np.float32(1e-5)))
    scaled = b.node("Div", centred, b.node("Sqrt", spread, output="spread"), output="scaled")
    shifted = b.node("Add", b.node("Mul", scaled, b.positive(8)), b.random(8), output="normal")
    b.node("MatMul", shifted, b.random(8, 6), output="y")
    return b.model({"x": [1, 5, 8]}, ["y"])


def test_a_silu_runs_on_integers_and_loses_little(tmp_path):
    found, kernels = listed(tmp_path, NETWORKS["SiLU"]())
    assert not found
    assert {"QLinearSigmoid", "QLinearMul"} <= kernels
    quantized = Quantized(networks.load(tmp_path, NETWORKS["SiLU"]()), "ort", samples=4)
    assert quantized.sqnr() > 33


def test_a_sigmoid_that_others_read_too_is_computed_in_float(tmp_path):
    b = Builder(1)
    a = b.conv("x", (4, 4), output="a")
    gate = b.node("Sigmoid", a, output="gate")
    b.conv(b.node("Concat", b.node("Mul", a, gate), gate, axis=1), (8, 3), output="y")
    quantized = Quantized(networks.load(tmp_path, b.model({"x": [1, 4, 8, 8]}, ["y"])), "ort", samples=1)
    assert "gate" in dict(quantized.plan.float_nodes)


@pytest.mark.parametrize(
    ("proto", "kernel"),
    [
        (lambda: between("Sigmoid"), "QLinearSigmoid"),
        (lambda: between("LeakyRelu", alpha=0.1), "QLinearLeakyRelu"),
        (lambda: between("Softmax", axis=1), "QLinearSoftmax"),
        (where, "QLinearWhere"),
    ],
)
def test_what_runs_in_an_integer_kernel_is_not_listed(tmp_path, proto, kernel):
    floats, ran = listed(tmp_path, proto())
    assert kernel in ran
    assert not floats


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("PRelu", "between two quantizers"),
        ("Resize, linear", "no integer kernel"),
        ("Exp", "no integer form"),
    ],
)
def test_what_runs_in_float_is_listed_whether_the_plan_calls_it_float_or_not(tmp_path, name, why):
    floats, _ = listed(tmp_path, NETWORKS[name]())
    assert list(floats) == ["h"]
    assert why in floats["h"]


def test_nodes_that_became_one_float_kernel_are_listed_by_their_own_names(tmp_path):
    floats, ran = listed(tmp_path, normalized())
    assert "Div" not in ran
    assert {"mean", "centred", "power", "spread", "scaled", "normal"} <= floats.keys()
    assert not {"a", "y"} & floats.keys()


def test_a_node_that_is_taken_out_is_not_listed(tmp_path):
    """A Slice of everything, behind the last layer."""
    b = Builder(1)
    bounds = [b.constant(np.array([v], np.int64)) for v in (0, 2**63 - 1, 1)]
    whole = b.node("Slice", b.node("Exp", b.conv("x", (4, 4)), output="e"), *bounds, output="s")
    b.node("Sqrt", whole, output="y")
    floats, ran = listed(tmp_path, b.model({"x": [1, 4, 8, 8]}, ["y"]))
    assert "Slice" not in ran
    assert list(floats) == ["e", "y"]


def test_beside_16_bits_an_operator_runs_in_float_and_says_so(tmp_path):
    floats, ran = listed(tmp_path, NETWORKS["Add"](), int16=("r",))
    assert "Add" in ran
    assert "16 bits" in floats["h"]


def test_a_target_that_onnx_runtime_does_not_run_lists_what_the_plan_leaves(tmp_path):
    quantized = Quantized(networks.load(tmp_path, between("Sigmoid")), "openvino", samples=1)
    found = float_layers(quantized.loaded.model, quantized.plan, quantized.exported)
    assert [(layer.name, layer.reason) for layer in found] == list(quantized.plan.float_nodes)


@pytest.mark.parametrize("name", NETWORKS)
def test_every_node_of_the_graph_that_runs_is_an_integer_kernel_or_listed(tmp_path, name):
    quantized = Quantized(networks.load(tmp_path, NETWORKS[name]()), samples=1)
    found = float_layers(quantized.loaded.model, quantized.plan, quantized.exported)
    floats = {layer.name for layer in found}
    proto = onnx.load_model_from_string(quantized.loaded.serialized())
    outputs = {node.name: node.output[0] for node in proto.graph.node}
    names = outputs | {layer.node: layer.name for layer in quantized.plan.layers}
    for node, kernel in integer_kernels(quantized.exported).items():
        if kernel in {"Exp", "PRelu", "HardSigmoid", "Clip", "ConvTranspose", "Sigmoid", "Tanh"}:
            assert names[node] in floats
        if kernel.startswith("QLinear"):  # one that is made up of several has no node of its own for each
            assert names.get(node) not in floats
