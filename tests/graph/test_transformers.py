"""Encoders with target ``ort``: close to what ``openvino`` keeps in float, on integer kernels."""

import networks
import numpy as np
import onnx
import onnxruntime
import pytest
from networks import Builder, Quantized, run_literally

from distq.graph.named import nodes_by_name
from distq.graph.placement import make_plan
from distq.stages.kernels import float_layers, integer_kernels, kernels_of_layers
from distq.targets import find_target
from distq.targets.ort import ORT

WIDTH, LENGTH, HEADS = 16, 6, 2


def number(b, value):
    return b.constant(np.float32(value))


def normal(b, x, as_one):
    scale, shift = b.positive(WIDTH), b.random(WIDTH, scale=0.3)
    if as_one:
        return b.node("LayerNormalization", x, scale, shift, axis=-1)
    centred = b.node("Sub", x, b.node("ReduceMean", x, b.constant(np.array([-1]))))
    variance = b.node("ReduceMean", b.node("Mul", centred, centred), b.constant(np.array([-1])))
    spread = b.node("Sqrt", b.node("Add", variance, number(b, 1e-5)))
    return b.node("Add", b.node("Mul", b.node("Div", centred, spread), scale), shift)


def gelu(b, x):
    tanh = b.node("Erf", b.node("Mul", x, number(b, 2**-0.5)))
    return b.node("Mul", b.node("Mul", x, number(b, 0.5)), b.node("Add", tanh, number(b, 1)))


def linear(b, x, inputs, outputs, **names):
    product = b.node("MatMul", x, b.random(inputs, outputs, scale=inputs**-0.5))
    return b.node("Add", product, b.random(outputs), **names)


def attention(b, x):
    split = b.constant([0, -1, HEADS, WIDTH // HEADS])
    query, key, value = (b.node("Reshape", linear(b, x, WIDTH, WIDTH), split) for _ in range(3))
    query, value = (b.node("Transpose", v, perm=[0, 2, 1, 3]) for v in (query, value))
    scores = b.node("MatMul", query, b.node("Transpose", key, perm=[0, 2, 3, 1]))
    shares = b.node("Softmax", b.node("Div", scores, number(b, (WIDTH // HEADS) ** 0.5)), axis=-1)
    mixed = b.node("Transpose", b.node("MatMul", shares, value), perm=[0, 2, 1, 3])
    return linear(b, b.node("Reshape", mixed, b.constant([0, -1, WIDTH])), WIDTH, WIDTH)


def encoder(*, first, as_one=False, sizes=(1, LENGTH)):
    """Two blocks; ``first``: normalization in front of attention and of the two layers behind, else after."""
    b = Builder(1)
    y = linear(b, "x", WIDTH, WIDTH)
    for _ in range(2):
        if first:
            y = b.node("Add", y, attention(b, normal(b, y, as_one)))
            hidden = gelu(b, linear(b, normal(b, y, as_one), WIDTH, 4 * WIDTH))
            y = b.node("Add", y, linear(b, hidden, 4 * WIDTH, WIDTH))
        else:
            y = normal(b, b.node("Add", y, attention(b, y)), as_one)
            hidden = gelu(b, linear(b, y, WIDTH, 4 * WIDTH))
            y = normal(b, b.node("Add", y, linear(b, hidden, 4 * WIDTH, WIDTH)), as_one)
    linear(b, y, WIDTH, 4, output="y")
    return b.model({"x": [*sizes, WIDTH]}, ["y"], opset=18)


FORMS = {
    "normalization first": {"first": True},
    "normalization behind": {"first": False},
    "as one operator": {"first": False, "as_one": True},
    "open sizes": {"first": True, "sizes": ("batch", "length")},
}


@pytest.fixture(scope="module", params=FORMS)
def networks_of_both_targets(request, tmp_path_factory):
    proto = encoder(**FORMS[request.param])
    loaded = networks.load(tmp_path_factory.mktemp("encoder"), proto)
    return {target: Quantized(loaded, target) for target in ("ort", "openvino")}


def test_ort_is_as_close_to_float_as_quantizers_at_layers_alone(networks_of_both_targets):
    found = {target: network.sqnr() for target, network in networks_of_both_targets.items()}
    assert found["ort"] > found["openvino"] - 1
    assert found["ort"] > 20


def test_every_product_runs_in_an_integer_kernel(networks_of_both_targets):
    network = networks_of_both_targets["ort"]
    found = kernels_of_layers(network.loaded.model, network.plan, network.exported)
    assert (found.layers, found.of) == (18, 18)
    assert found.multiplications == pytest.approx(1)
    other = networks_of_both_targets["openvino"]
    assert kernels_of_layers(other.loaded.model, other.plan, other.exported) is None


def test_every_linear_layer_has_a_bias_that_its_kernel_adds(networks_of_both_targets):
    for target, network in networks_of_both_targets.items():
        linears = [layer for layer in network.plan.layers if layer.weight is not None]
        assert len(linears) == 14
        assert {layer.name for layer in linears} == network.state.biases.keys()
        exported = onnx.load_model_from_string(network.exported).graph
        types = {t.name: t.data_type for t in exported.initializer}
        added_alone = target == "ort" and "batch" in {
            d.dim_param for d in exported.input[0].type.tensor_type.shape.dim
        }
        ending, wanted = (
            ("float", onnx.TensorProto.FLOAT) if added_alone else ("quantized", onnx.TensorProto.INT32)
        )
        assert all(types[f"{n}_bias_{ending}"] == wanted for n in network.state.biases)


def test_residual_sums_are_not_rounded_where_a_layer_reads_one_of_their_parts_too(load):
    network = Quantized(load(encoder(first=False, as_one=True)))
    exported = onnx.load_model_from_string(network.exported).graph
    adds = [node for node in exported.node if node.op_type == "Add"]
    constants = {tensor.name for tensor in exported.initializer}
    sums = [n for n in adds if not any(i in constants or i.endswith("bias_dequantized") for i in n.input)]
    assert len(sums) == 4
    assert not [name for node in sums for name in node.input if name.endswith("_dequantized")]
    kernels = integer_kernels(network.exported).values()
    assert not {"QLinearAdd", "QLinearMul", "QLinearSoftmax"} & set(kernels)


def test_parts_of_one_product_have_ranges_of_their_own(load):
    b = Builder(1)
    both = b.node("MatMul", "x", b.random(8, 8), output="both")
    b.node("Split", both, axis=-1, output="left", outputs=2, num_outputs=2)
    b.node("MatMul", "left", b.node("Transpose", "left_1", perm=[0, 2, 1]), output="y")
    plan = make_plan(load(b.model({"x": [1, 5, 8]}, ["y"], opset=18)).model, ORT, "auto")
    assert "both" not in plan.by_tensor
    assert plan.by_tensor["left"] is not plan.by_tensor["left_1"]


@pytest.mark.parametrize("target", ["ort", "openvino", "tensorrt"])
def test_a_product_stays_a_matmul_for_every_target(load, target):
    network = Quantized(load(encoder(first=True)), target)
    types = [n.op_type for n in onnx.load_model_from_string(network.exported).graph.node]
    assert types.count("MatMul") == 18
    assert "Gemm" not in types
    assert network.plan.target == find_target(target)
    assert network.sqnr() > 20


@pytest.mark.parametrize("opset", [13, 21, 23])
@pytest.mark.parametrize(
    ("target", "scheme"),
    [("ort", "auto"), ("openvino", "auto"), ("openvino", "symmetric"), ("tensorrt", "auto")],
)
@pytest.mark.parametrize("shape", [[1, 5, 8], [8]])
def test_linear_layers_load_in_onnx_runtime_as_it_is(load, target, scheme, opset, shape):
    b = Builder(1)
    hidden = b.node("Relu", b.node("Add", b.node("MatMul", "x", b.random(8, 8)), b.random(8)))
    b.node("MatMul", hidden, b.random(8, 6), output="y")
    quantized = Quantized(load(b.model({"x": shape}, ["y"], opset)), target, scheme)
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    if target != "ort":  # int8 weights for a processor whose kernels saturate
        options.add_session_config_entry("session.x64quantprecision", "1")
    session = onnxruntime.InferenceSession(quantized.exported, options, providers=["CPUExecutionProvider"])
    (found,) = session.run(None, {"x": quantized.feeds[0]["x"]})
    original = onnx.load_model_from_string(quantized.loaded.serialized())
    wanted = run_literally(original, quantized.feeds[0])["y"]
    assert ((found - wanted) ** 2).sum() < 2e-3 * (wanted**2).sum()


@pytest.mark.parametrize("target", ["ort", "openvino", "tensorrt"])
def test_a_linear_layer_of_unknown_rank_keeps_the_rank_of_its_result(load, target):
    b = Builder(1)
    value, types = onnx.helper.make_tensor_value_info, onnx.TensorProto
    doubling = onnx.helper.make_graph(
        [
            onnx.helper.make_node("Identity", ["on"], ["kept"]),
            onnx.helper.make_node("Add", ["v", "x"], ["next"]),
        ],
        "body",
        [value("step", types.INT64, []), value("on", types.BOOL, []), value("v", types.FLOAT, None)],
        [value("kept", types.BOOL, []), value("next", types.FLOAT, None)],
    )
    looped = b.node("Loop", b.constant(np.array(2)), "", "x", body=doubling)
    hidden = b.node("Add", b.node("MatMul", looped, b.random(8, 5)), b.random(5))
    b.node("MatMul", hidden, b.random(5, 3), output="y")
    proto = b.model({"x": [8]}, ["y"], 21)
    proto.graph.output[0].CopyFrom(value("y", types.FLOAT, ["n"]))
    assert Quantized(load(proto), target).sqnr() > 25


def two_linear_layers(b):
    hidden = b.node("Relu", b.node("Add", b.node("MatMul", "x", b.random(8, 8)), b.random(8), output="a1"))
    b.node("Add", b.node("MatMul", hidden, b.random(8, 6)), b.random(6), output="a2")
    return b.model({"x": [1, 5, 8]}, ["a2"])


def test_the_sum_with_its_bias_names_a_linear_layer(load):
    model = load(two_linear_layers(Builder(1))).model
    nodes = nodes_by_name(model.graph)
    assert nodes["a2"].op_type == "MatMul"
    assert nodes["a1"].op_type == "MatMul"


def test_a_linear_layer_in_float_is_listed_once(load):
    quantized = Quantized(load(two_linear_layers(Builder(1))), "ort", float_layers=["a2"])
    found = list(float_layers(quantized.loaded.model, quantized.plan, quantized.exported))
    assert [one.reason for one in found if one.name == "a2"] == ["kept in float by --float-budget"]
