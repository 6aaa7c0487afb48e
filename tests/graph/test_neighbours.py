"""Operators that run on integers beside integer kernels alone, and the constants that they read."""

from __future__ import annotations

import networks
import numpy as np
import onnx
import pytest
from networks import Builder, Quantized
from onnx import numpy_helper

from distq.stages.kernels import float_layers, integer_kernels

IMAGE = [1, 4, 8, 8]


def between(middle, width=4):
    """Conv - some nodes - Conv."""
    b = Builder(1)
    b.conv(middle(b, b.conv("x", (4, 4), output="a")), (width, 3), output="y")
    return b.model({"x": IMAGE}, ["y"])


def indices(b, *values):
    return b.constant(np.array(values, np.int64))


def number(b, value):
    return b.constant(np.float32(value))


def pooled(b, a):
    return b.node("MaxPool", a, kernel_shape=[2, 2], output="pooled")


def split(b, a):
    first = b.node("Split", a, axis=1, outputs=2, output="h")
    return b.node("Add", first, f"{first}_1")


def shuffled(b, a):
    first = b.node("Split", b.node("Relu", a, output="r"), axis=1, outputs=2, output="h")
    return b.node("Concat", first, b.conv(f"{first}_1", (2, 2), kernel=1), axis=1)


def gathered(b, a):
    return b.node("Gather", a, b.constant(np.array(-1)), axis=2, output="h")


PICKING = {
    "Split": (split, 2),
    "Split behind a Relu": (shuffled, 4),
    "Gather": (lambda b, a: b.node("Gather", a, indices(b, 3, 1, 0, 2), axis=1, output="h"), 4),
    "Gather by index": (
        lambda b, a: b.node("Unsqueeze", gathered(b, a), indices(b, 2)),
        4,
    ),
    "GatherElements": (
        lambda b, a: b.node("GatherElements", a, b.constant(np.ones(IMAGE, np.int64)), axis=3, output="h"),
        4,
    ),
    "Tile": (lambda b, a: b.node("Tile", a, indices(b, 1, 2, 1, 1), output="h"), 8),
    "ReduceMax": (lambda b, a: b.node("ReduceMax", a, axes=[3], output="h"), 4),
    "ReduceMin": (lambda b, a: b.node("ReduceMin", a, axes=[2, 3], output="h"), 4),
    "Expand": (
        lambda b, a: b.node("Expand", b.node("GlobalAveragePool", a), indices(b, 1, 4, 8, 8), output="h"),
        4,
    ),
}  # fmt: skip


@pytest.mark.parametrize("scheme", ["auto", "symmetric"])
@pytest.mark.parametrize("kind", PICKING)
def test_what_picks_values_shares_the_quantizer_of_its_input_and_runs_on_integers(tmp_path, kind, scheme):
    quantized = Quantized(networks.load(tmp_path, between(*PICKING[kind])), scheme=scheme)
    (node,) = (n for n in quantized.loaded.model.graph if n.outputs[0].name == "h")
    owners = quantized.plan.by_tensor
    assert {owners[output.name].name for output in node.outputs} == {owners[node.inputs[0].name].name}
    found = float_layers(quantized.loaded.model, quantized.plan, quantized.exported)
    assert not list(found)
    assert node.op_type in integer_kernels(quantized.exported).values()
    assert quantized.sqnr() > 30


@pytest.mark.parametrize("op", ["Gather", "Tile"])
def test_what_picks_values_of_a_float_tensor_stays_in_float(tmp_path, op):
    def middle(b, a):
        given = indices(b, 0, 1) if op == "Gather" else indices(b, 1, 1, 1, 1)
        return b.node(op, b.node("Exp", a), given, output="h", **({"axis": 3} if op == "Gather" else {}))

    plan = Quantized(networks.load(tmp_path, between(middle)), samples=1).plan
    assert dict(plan.float_nodes)["h"] == f"{op} reads what is computed in float"


@pytest.mark.parametrize("scheme", ["auto", "symmetric"])
@pytest.mark.parametrize("left", [False, True])
@pytest.mark.parametrize("op", ["Add", "Mul"])
@pytest.mark.parametrize("value", [0.7, -0.3, 90])
def test_a_constant_number_is_exact_in_an_integer_kernel(tmp_path, op, left, value, scheme):
    def middle(b, a):
        operands = [pooled(b, a), number(b, value)]
        return b.node(op, *(operands[::-1] if left else operands), output="h")

    quantized = Quantized(networks.load(tmp_path, between(middle)), scheme=scheme)
    assert f"QLinear{op}" in integer_kernels(quantized.exported).values()
    constants = {
        t.name: numpy_helper.to_array(t)
        for t in onnx.load_model_from_string(quantized.exported).graph.initializer
    }
    integers, scale, zero = (constants[f"h_operand_{part}"] for part in ("quantized", "scale", "zero_point"))
    assert (integers.astype(float) - zero) * scale == pytest.approx(value, rel=1e-6)
    assert quantized.sqnr() > 25


@pytest.mark.parametrize(
    ("value", "why"),
    [(-1e9, "constant operand"), (0.0, "constant operand"), (np.full((1, 1, 7, 7), 0.5), "constant operand")],
)
def test_masks_nothing_and_arrays_stay_constants_in_float(tmp_path, value, why):
    def middle(b, a):
        return b.node("Mul", pooled(b, a), b.constant(np.asarray(value, np.float32)), output="h")

    plan = Quantized(networks.load(tmp_path, between(middle)), samples=1).plan
    assert why in dict(plan.float_nodes)["h"]
    assert not plan.operands


def test_a_constant_read_in_float_or_beside_float_stays_in_float(tmp_path):
    def behind(b, a):
        return b.node("Add", b.node("Exp", a), number(b, 1), output="h")

    def before(b, a):
        return b.node("Exp", b.node("Mul", pooled(b, a), number(b, 0.5), output="h"))

    for middle, why in ((behind, "computed in float"), (before, "read in float")):
        plan = Quantized(networks.load(tmp_path, between(middle)), samples=1).plan
        assert why in dict(plan.float_nodes)["h"]


def test_a_relu_behind_a_sum_with_a_constant_is_part_of_its_kernel(tmp_path):
    def middle(b, a):
        return b.node("Relu", b.node("Add", pooled(b, a), number(b, 0.5), output="h"), output="r")

    quantized = Quantized(networks.load(tmp_path, between(middle)))
    assert "Relu" not in integer_kernels(quantized.exported).values()
    assert "h" not in quantized.plan.by_tensor
    assert quantized.sqnr() > 30


def test_beside_16_bits_a_constant_is_as_it_was(tmp_path):
    def middle(b, a):
        return b.node("Mul", pooled(b, a), number(b, 0.7), output="h")

    quantized = Quantized(networks.load(tmp_path, between(middle)), int16=("h",))
    (node,) = (n for n in onnx.load_model_from_string(quantized.exported).graph.node if n.op_type == "Mul")
    assert "h_operand_dequantized" not in node.input
    assert quantized.sqnr() > 30


@pytest.mark.parametrize("target", ["openvino", "tensorrt"])
def test_other_targets_keep_their_places(tmp_path, target):
    def middle(b, a):
        first = b.node("Split", b.node("Mul", a, number(b, 0.5)), axis=1, outputs=2, output="h")
        return b.node("Concat", first, f"{first}_1", axis=1, output="c")

    plan = Quantized(networks.load(tmp_path, between(middle)), target, samples=1).plan
    assert {q.name for q in plan.quantizers} == {"x", "c"}
    assert not plan.operands


@pytest.mark.parametrize("op", ["Mul", "Add"])
def test_what_float_writes_is_not_rounded_for_a_result_that_float_reads(tmp_path, op):
    """A scan of a state space model: values times an exponential, added up."""

    def scan(b, a):
        grown = b.node("Exp", b.conv("x", (4, 4)), output="e")
        return b.node("CumSum", b.node(op, a, grown, output="h"), b.constant(np.array(2)))

    quantized = Quantized(networks.load(tmp_path, between(scan)), samples=1)
    assert dict(quantized.plan.float_nodes)["h"] == f"{op} between operators in float"
    assert "e" not in quantized.plan.by_tensor


def test_a_sum_that_an_integer_kernel_reads_runs_on_integers(tmp_path):
    def middle(b, a):
        return b.node("Add", a, b.node("Exp", b.conv("x", (4, 4))), output="h")

    quantized = Quantized(networks.load(tmp_path, between(middle)), samples=1)
    assert "h" in quantized.plan.by_tensor
    assert "QLinearAdd" in integer_kernels(quantized.exported).values()
