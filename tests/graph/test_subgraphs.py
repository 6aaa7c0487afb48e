"""Networks with If, Loop and Scan: what the graphs inside them read and write."""

import numpy as np
import onnx
import pytest
from networks import Builder, Quantized, assert_computes_the_same, feeds_of, node_types, run_literally
from onnx import TensorProto, helper, numpy_helper

from distq.graph.names import Names
from distq.graph.probes import stages
from distq.graph.values import only_reader, reads

IMAGE = [1, 4, 6, 6]
make = helper.make_node


def graph_of(nodes, output, constants=(), inputs=()):
    tensors = [numpy_helper.from_array(array, name) for name, array in dict(constants).items()]
    ends = [helper.make_tensor_value_info(output, TensorProto.FLOAT, None)]
    return helper.make_graph(nodes, output, list(inputs), ends, tensors)


def branched(b, then, otherwise, output):
    """An If on the sign of the sum of x; branches are lists of nodes that end in tensors named after them."""
    total = b.node("ReduceSum", "x", keepdims=0)
    condition = b.node("Greater", total, b.constant(np.float32(0)))
    branches = {"then_branch": graph_of(then, "then"), "else_branch": graph_of(otherwise, "otherwise")}
    b.node("If", condition, output=output, **branches)
    return output


def both_ways(loaded, proto, model=None):
    """Feeds for both branches, and that the canonical network computes what the given one does."""
    for sign in (1, -1):
        feeds = {name: sign * abs(array) for name, array in feeds_of(proto).items()}
        found = run_literally(model or loaded.serialized(), feeds)
        for name, wanted in run_literally(proto, feeds).items():
            np.testing.assert_allclose(found[name], wanted, rtol=1e-4, atol=1e-5)


def reads_of(op, tensor="a", out="then"):
    return [make(op, [tensor], [out])]


@pytest.mark.parametrize("op", ["Relu", "Neg", "Identity"])
def test_what_a_branch_reads_is_not_folded_into_what_writes_it(load, op):
    b = Builder()
    b.conv("x", (4, 4), output="a")
    b.conv(branched(b, reads_of(op), reads_of("Abs", out="otherwise"), "chosen"), (4, 3), output="y")
    proto = b.model({"x": IMAGE}, {"y": [1, 3, 6, 6]})
    loaded = load(proto)
    assert node_types(loaded).count("Conv") == 2
    both_ways(loaded, proto)


def test_a_node_inside_a_branch_is_no_follower_of_a_layer_outside(load):
    b = Builder()
    b.conv("x", (4, 4), output="a")
    scale = {n: np.full(4, v, np.float32) for n, v in (("s", 2), ("o", 1), ("m", 0), ("v", 1))}
    norm = [make("BatchNormalization", ["a", *scale], ["then"])]
    b.initializers.update(scale)
    branched(b, norm, [make("Constant", [], ["otherwise"], value=zeros(IMAGE))], "y")
    proto = b.model({"x": IMAGE}, {"y": IMAGE})
    loaded = load(proto)
    value = next(v for node in loaded.model.graph for v in node.outputs if v.name == "a")
    assert only_reader(value) is None
    both_ways(loaded, proto)


def zeros(shape):
    return numpy_helper.from_array(np.zeros(shape, np.float32))


def test_layers_behind_a_branch_are_in_a_later_stage_than_what_it_reads(load):
    b = Builder()
    b.node("Relu", b.conv("x", (4, 4)), output="a")
    b.conv(branched(b, reads_of("Neg"), reads_of("Abs", out="otherwise"), "chosen"), (4, 3), output="y")
    loaded = load(b.model({"x": IMAGE}, {"y": [1, 3, 6, 6]}))
    quantized = Quantized(loaded)
    assert [[layer.name for layer in stage] for stage in stages(loaded.model, quantized.plan)] == [
        ["a"],
        ["y"],
    ]
    branch = next(node for node in loaded.model.graph if node.op_type == "If")
    assert "a" in {v.name for v in reads(branch)}
    assert "a" in quantized.plan.by_tensor


def test_the_exported_network_takes_both_branches(load):
    b = Builder()
    b.node("Relu", b.conv("x", (4, 4)), output="a")
    inner = [make("Exp", ["a"], ["e"]), make("Sub", ["e", "a"], ["then"])]
    b.conv(branched(b, inner, reads_of("Abs", out="otherwise"), "chosen"), (4, 3), output="y")
    proto = b.model({"x": IMAGE}, {"y": [1, 3, 6, 6]})
    quantized = Quantized(load(proto))
    onnx.checker.check_model(onnx.load_model_from_string(quantized.exported), full_check=True)
    assert quantized.sqnr() > 25


@pytest.mark.parametrize(
    ("op", "constants", "shape"),
    [
        ("Reshape", [[0, 8, 18]], [1, 8, 18]),
        ("Slice", [[0], [2], [1]], [1, 2, 6, 6]),
        ("Transpose", [], [6, 6, 4, 1]),
        ("Squeeze", [[0]], [4, 6, 6]),
        ("Unsqueeze", [[0]], [1, 1, 4, 6, 6]),
        ("Identity", [], IMAGE),
    ],
)
def test_what_a_branch_reads_behind_a_quantizer_and_a_reshape_is_kept_apart(load, op, constants, shape):
    b = Builder()
    a = b.node("Relu", b.conv("x", (4, 4)))
    b.node(op, a, *(b.constant(np.array(values)) for values in constants), output="p")
    branched(b, reads_of("Neg", "p"), reads_of("Abs", "p", "otherwise"), "y")
    quantized = Quantized(load(b.model({"x": IMAGE}, {"y": shape})))
    exported = onnx.load_model_from_string(quantized.exported)
    writers = {name: node for node in exported.graph.node for name in node.output}
    (branch,) = [node for node in exported.graph.node if node.op_type == "If"]
    (read,) = {name for a in branch.attribute for node in a.g.node for name in node.input}
    assert writers[read].op_type == ("DequantizeLinear" if op == "Identity" else "Max")
    assert quantized.sqnr() > 25


def test_a_layer_that_only_an_unused_branch_reads_is_dropped(load):
    b = Builder()
    b.conv("x", (4, 4), output="a")
    branched(b, reads_of("Neg"), reads_of("Abs", out="otherwise"), "unused")
    b.node("Shape", "x")  # a node to fold
    b.conv("x", (4, 3), output="y")
    assert node_types(load(b.model({"x": IMAGE}, ["y"]))) == ["Conv"]


def test_names_that_only_a_branch_has_are_taken(load):
    b = Builder()
    b.node("Relu", b.conv("x", (4, 4)), output="a")
    then = [make("Neg", ["a"], ["a_quantized"]), make("Abs", ["a_quantized"], ["then"])]
    otherwise = [make("Neg", ["a"], ["y_weight"]), make("Abs", ["y_weight"], ["otherwise"])]
    b.conv(branched(b, then, otherwise, "chosen"), (4, 3), output="y")
    quantized = Quantized(load(b.model({"x": IMAGE}, {"y": [1, 3, 6, 6]})))
    assert Names.free_in(quantized.loaded.model).tag
    onnx.checker.check_model(onnx.load_model_from_string(quantized.exported), full_check=True)


def test_names_can_be_found_where_several_outputs_are_left_out(load):
    b = Builder()
    t = "x"
    for _ in range(2):
        inputs = [b.random(1, 64, 16, scale=0.2), b.random(1, 64, 16, scale=0.2), b.random(1, 128)]
        name = f"t{len(b.nodes)}"
        b.nodes.append(make("LSTM", [t, *inputs], [name, "", ""], hidden_size=16))
        t = b.node("Squeeze", name, b.constant(np.array([1])))
    b.node("MatMul", t, b.random(16, 4), output="y")
    proto = b.model({"x": [5, 1, 16]}, ["y"], 14)
    loaded = load(proto)
    assert Names.free_in(loaded.model) == Names()
    assert_computes_the_same(loaded, proto)


def scan(outputs, nodes):
    """x: (5, 4) goes through a body with a state s and an element e a step."""
    b = Builder()
    ends = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [4]) for name in outputs]
    starts = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [4]) for name in ("s", "e")]
    body = helper.make_graph(nodes, "body", starts, ends)
    b.node(
        "Scan",
        b.constant(np.zeros(4, np.float32)),
        b.node("Gemm", "x", b.random(4, 4)),
        output="z",
        outputs=len(outputs),
        body=body,
        num_scan_inputs=1,
    )
    last = f"z_{len(outputs) - 1}"
    b.node("Gemm", last, b.random(4, 3), output="y")
    return b.model({"x": [5, 4]}, {"y": [5, 3]}, 17)


@pytest.mark.parametrize(
    ("outputs", "nodes"),
    [
        (["t", "u"], [make("Add", ["s", "e"], ["t"]), make("Identity", ["t"], ["u"])]),
        (["t", "u"], [make("Identity", ["s"], ["t"]), make("Identity", ["e"], ["u"])]),
        (["t", "u", "w"], [make("Add", ["s", "e"], ["p"]), *(make("Identity", ["p"], [o]) for o in "tuw")]),
        (
            ["t", "u"],
            [make("Identity", ["e"], ["p"]), make("Add", ["s", "p"], ["t"]), make("Exp", ["p"], ["u"])],
        ),
    ],
)
def test_the_body_of_a_scan_keeps_its_inputs_and_outputs(load, outputs, nodes):
    proto = scan(outputs, nodes)
    loaded = load(proto)
    body = next(node for node in loaded.model.graph if node.op_type == "Scan").attributes["body"].as_graph()
    assert [v.name for v in body.outputs] == outputs
    assert_computes_the_same(loaded, proto)


def test_a_loop_that_captures_an_activation_keeps_computing(load):
    b = Builder()
    b.node("Relu", b.node("Gemm", "x", b.random(4, 4)), output="r")
    nodes = [make("Add", ["s", "r"], ["t"]), make("Identity", ["going"], ["on"])]
    value = helper.make_tensor_value_info
    body = helper.make_graph(
        nodes,
        "body",
        [
            value("i", TensorProto.INT64, []),
            value("going", TensorProto.BOOL, []),
            value("s", TensorProto.FLOAT, [2, 4]),
        ],
        [value("on", TensorProto.BOOL, []), value("t", TensorProto.FLOAT, [2, 4])],
    )
    count, true = b.constant(np.int64(3)), b.constant(np.True_)
    t = b.node("Loop", count, true, "x", body=body)
    b.node("Gemm", t, b.random(4, 3), output="y")
    proto = b.model({"x": [2, 4]}, {"y": [2, 3]}, 17)
    loaded = load(proto)
    assert_computes_the_same(loaded, proto)
    assert Quantized(loaded).sqnr() > 25
