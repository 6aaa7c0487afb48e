import numpy as np
import pytest
from networks import Builder

from distq.graph.layers import Layer, clip_bounds, compute_layer, connects, is_gate
from distq.graph.placement import make_plan
from distq.targets.ort import ORT

IMAGE = [1, 4, 8, 8]


def nodes(load, b, inputs=None, outputs=("y",), opset=13):
    model = load(b.model(inputs or {"x": IMAGE}, outputs, opset)).model
    return list(model.graph)


def number(b, value):
    return b.constant(np.float32(value))


def test_a_layer_is_named_after_its_output_or_after_the_relu_or_clip_behind_it(load):
    b = Builder()
    first = b.node("Relu", b.conv("x", (4, 4), output="a"), output="a relu")
    second = b.node("Clip", b.conv(first, (4, 4), output="b"), number(b, 0), number(b, 6), output="b clip")
    third = b.node("Clip", b.conv(second, (4, 4), output="c"), number(b, -1), output="c clip")
    b.node("LeakyRelu", b.conv(third, (4, 4), output="d"), output="y")
    found = [layer for node in nodes(load, b) if isinstance(layer := compute_layer(node), Layer)]
    assert [(layer.name, layer.output) for layer in found] == [
        ("a relu", "a"),
        ("b clip", "b"),
        ("c", "c"),
        ("d", "d"),
    ]


def test_a_relu_does_not_name_a_layer_with_another_reader_or_that_is_an_output(load):
    b = Builder()
    a, out = b.conv("x", (4, 4), output="a"), b.conv("x", (4, 4), output="out")
    b.node("Add", b.node("Relu", a), b.node("Mul", a, b.node("Relu", out)), output="y")
    found = [layer for node in nodes(load, b, outputs=("y", "out")) if (layer := compute_layer(node))]
    assert [layer.name for layer in found] == ["a", "out"]


@pytest.mark.parametrize(
    ("op", "weight", "shape", "axis"),
    [
        (("Conv", {}), (6, 4, 3, 3), IMAGE, 0),
        (("Conv", {"group": 4}), (4, 1, 3, 3), IMAGE, 0),
        (("ConvTranspose", {}), (4, 6, 2, 2), IMAGE, 1),
        (("Gemm", {}), (8, 5), [2, 8], 1),
        (("Gemm", {"transB": 1}), (5, 8), [2, 8], 0),
        (("MatMul", {}), (2, 8, 5), [2, 3, 8], None),
    ],
)
def test_scales_run_along_the_output_channels(load, op, weight, shape, axis):
    b = Builder()
    b.node(op[0], "x", b.random(*weight), output="y", **op[1])
    (layer,) = map(compute_layer, nodes(load, b, {"x": shape}))
    assert (layer.axis, layer.inputs, layer.output, layer.bias) == (axis, ("x",), "y", None)


def test_a_product_of_a_tensor_of_more_dimensions_is_a_layer_with_the_bias_added_behind_it(load):
    b = Builder()
    product = b.node("MatMul", "x", b.random(8, 5), output="product", name="multiply")
    b.node("Relu", b.node("Add", b.random(5, name="bias"), product, output="sum", name="add"), output="y")
    multiply, add, relu = nodes(load, b, {"x": ["N", "S", 8]})
    layer = compute_layer(multiply)
    assert (layer.name, layer.node, layer.output, layer.axis) == ("y", "multiply", "sum", 1)
    assert layer.reads_bias == (add.name, 1)
    assert compute_layer(add) is compute_layer(relu) is None


def computed_weight(b):
    b.node("Conv", "x", b.node("Relu", "w"), output="y")


def computed_bias(b):
    b.node("Gemm", "m", b.random(8, 4), b.node("Relu", "c"), output="y", beta=0.5)


def constant_left(b):
    b.node("MatMul", b.random(4, 8, 8), "x", output="y")


def bias_by_row(b):
    b.node("Gemm", "m", b.random(8, 5), b.random(2, 5), output="y", beta=0.5)


def grouped(b):
    b.node("ConvTranspose", "x", b.random(4, 3, 2, 2), output="y", group=2)


@pytest.mark.parametrize(
    ("build", "reason"),
    [
        (computed_weight, "weights"),
        (computed_bias, "bias"),
        (constant_left, "left"),
        (bias_by_row, "bias"),
        (grouped, "groups"),
    ],
)
def test_a_product_that_int8_cannot_carry_says_why(load, build, reason):
    b = Builder()
    build(b)
    inputs = {"x": IMAGE, "w": [4, 4, 3, 3], "c": [4], "m": [2, 8]}
    assert reason in str(compute_layer(nodes(load, b, inputs)[-1]))


def test_a_node_that_is_no_product_or_of_another_domain_is_no_layer(load):
    b = Builder()
    b.node("Relu", "x", output="y")
    assert compute_layer(nodes(load, b)[0]) is None


@pytest.mark.parametrize(
    ("low", "high", "bounds"),
    [(0, 6, (0, 6)), (-1, None, (-1, np.inf)), (None, 2, (-np.inf, 2)), (None, None, (-np.inf, np.inf))],
)
def test_bounds_of_a_clip(load, low, high, bounds):
    b = Builder()
    parts = ["" if value is None else number(b, value) for value in (low, high)]
    b.node("Clip", "x", *parts, output="y")
    assert clip_bounds(nodes(load, b)[0]) == bounds


def test_bounds_that_are_computed_are_unknown_and_a_relu_has_only_a_lower_one(load):
    b = Builder()
    b.node("Clip", b.node("Relu", "x"), "least", output="y")
    relu, clip = nodes(load, b, {"x": IMAGE, "least": []})
    assert (clip_bounds(relu), clip_bounds(clip)) == ((0, np.inf), None)


@pytest.mark.parametrize("swapped", [False, True])
def test_a_gate_is_a_tensor_times_an_activation_of_itself(load, swapped):
    b = Builder()
    pair = ["x", b.node("Sigmoid", "x")]
    b.node("Mul", *(reversed(pair) if swapped else pair), output="y")
    assert is_gate(nodes(load, b)[-1])


def test_a_tensor_times_an_activation_of_another_is_no_gate(load):
    b = Builder()
    b.node("Mul", "x", b.node("Sigmoid", "x2"), output="y")
    assert not is_gate(nodes(load, b, {"x": IMAGE, "x2": IMAGE})[-1])


@pytest.mark.parametrize(
    ("op", "attributes"),
    [
        ("MaxPool", {"kernel_shape": [2, 2]}),
        ("AveragePool", {"kernel_shape": [2, 2]}),
        ("GlobalAveragePool", {}),
        ("Flatten", {}),
        ("Transpose", {"perm": [0, 2, 3, 1]}),
        ("DepthToSpace", {"blocksize": 2}),
    ],
)
def test_operators_that_run_on_integers(load, op, attributes):
    b = Builder()
    b.node(op, "x", output="y", **attributes)
    assert connects(nodes(load, b)[0]) is None


def test_a_max_pool_whose_indices_are_read_stays_float(load):
    b = Builder()
    pooled = b.node("MaxPool", "x", kernel_shape=[2, 2], strides=[2, 2], outputs=2)
    b.node("MaxUnpool", pooled, f"{pooled}_1", output="y", kernel_shape=[2, 2], strides=[2, 2])
    assert connects(nodes(load, b, outputs={"y": IMAGE})[0]) is not None


@pytest.mark.parametrize("op", ["Add", "Mul"])
def test_an_operand_that_is_constant_stays_float(load, op):
    b = Builder()
    b.node(op, "x", b.random(1, 1, 8, 8), output="y")
    assert "constant" in connects(nodes(load, b)[0])


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_weights_that_are_not_finite_stay_in_float(load, value):
    b = Builder()
    weight = np.ones((3, 4, 1, 1), np.float32)
    weight[1] = value
    b.node("Conv", b.conv("x", (4, 4)), b.constant(weight), output="y")
    plan = make_plan(load(b.model({"x": [1, 4, 8, 8]}, ["y"])).model, ORT, "auto")
    assert len(plan.layers) == 1
    assert dict(plan.float_nodes)["y"] == "Conv has weights that are NaN or infinite"
