import hashlib
import os
import subprocess
import sys

import networks
import numpy as np
import onnx
import pytest
from networks import Builder, Quantized, write
from onnx import numpy_helper
from zoo import NETWORKS, branched, clipped

IMAGE = [1, 4, 8, 8]

TWO_PROCESSES = """
import hashlib, pathlib, sys
sys.path.insert(0, sys.argv[2])
from networks import Quantized
from distq.graph.load import load_model
print(hashlib.sha256(Quantized(load_model(pathlib.Path(sys.argv[1]))).exported).hexdigest())
"""


def graph_of(quantized):
    return onnx.load_model_from_string(quantized.exported).graph


def constants_of(graph):
    return {t.name: numpy_helper.to_array(t) for t in graph.initializer}


def test_the_same_numbers_give_the_same_bytes(load):
    quantized = Quantized(load(branched()))
    assert quantized.export() == quantized.export()
    assert Quantized(load(branched())).export() == quantized.export()


def test_another_process_exports_the_same_bytes(tmp_path, load):
    own = hashlib.sha256(Quantized(load(branched())).exported).hexdigest()
    helpers = os.path.dirname(networks.__file__)  # noqa: PTH120  # a plain string
    arguments = [str(write(tmp_path, branched())), helpers]
    other = subprocess.run(  # noqa: S603  # this interpreter
        [sys.executable, "-c", TWO_PROCESSES, *arguments],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "PYTHONHASHSEED": "7"},
    )
    assert other.stdout.strip() == own


def test_exporting_leaves_the_float_model_as_it_is(load):
    loaded = load(branched())
    before = loaded.serialized()
    Quantized(loaded).export()
    assert loaded.serialized() == before


@pytest.mark.parametrize(
    ("target", "scheme", "stays"), [("ort", "auto", 0), ("ort", "symmetric", 1), ("openvino", "auto", 1)]
)
@pytest.mark.parametrize(("build", "op"), [(NETWORKS["Relu"], "Relu"), (clipped, "Clip")])
def test_what_saturation_implies_is_left_out_in_auto_alone(load, build, op, target, scheme, stays):  # noqa: PLR0917  # parameters of a test
    types = [node.op_type for node in graph_of(Quantized(load(build()), target, scheme)).node]
    assert types.count(op) == stays


def test_weights_are_int8_by_channel_and_biases_int32_at_the_accumulators_scale(load):
    graph = graph_of(Quantized(load(NETWORKS["ConvTranspose"]()), weight_bits="8"))
    numbers = constants_of(graph)
    dequantize = {n.output[0]: n for n in graph.node if n.op_type == "DequantizeLinear"}
    for node in graph.node:
        if node.op_type not in {"Conv", "ConvTranspose"}:
            continue
        data, weight, bias = (dequantize[name] for name in node.input)
        channels = 0 if node.op_type == "Conv" else 1
        assert next(a.i for a in weight.attribute if a.name == "axis") == channels
        integers, scales, zeros = (numbers[name] for name in weight.input)
        assert (integers.dtype, scales.dtype) == (np.int8, np.float32)
        assert scales.shape == zeros.shape == (integers.shape[channels],)
        assert not zeros.any()
        assert abs(integers.astype(int)).max() == 127
        assert numbers[bias.input[0]].dtype == np.int32
        np.testing.assert_array_equal(numbers[bias.input[1]], numbers[data.input[1]] * scales)


def test_every_layer_gets_a_bias_that_can_be_corrected_and_a_matrix_product_none(load):
    b = Builder()
    b.conv(b.conv("x", (4, 4), bias=False), (4, 3), output="y", bias=False)
    assert [
        len(n.input)
        for n in graph_of(Quantized(load(b.model({"x": IMAGE}, ["y"])))).node
        if n.op_type == "Conv"
    ] == [3, 3]
    products = [
        n for n in graph_of(Quantized(load(NETWORKS["MatMul of a stack"]()))).node if n.op_type == "MatMul"
    ]
    assert [len(n.input) for n in products] == [2, 2]


def test_no_float_weight_is_left_behind(load):
    graph = graph_of(Quantized(load(branched())))
    assert all(array.dtype != np.float32 or array.ndim < 2 for array in constants_of(graph).values())
    assert {t.name for t in graph.initializer} <= {name for node in graph.node for name in node.input}


def test_with_openvino_only_layers_read_quantized_tensors(load):
    graph = graph_of(Quantized(load(branched()), "openvino"))
    dequantized = {n.output[0] for n in graph.node if n.op_type == "DequantizeLinear"}
    readers = {n.op_type for n in graph.node if dequantized & set(n.input)}
    assert readers <= {"Conv", "Gemm"}


def test_tensors_that_share_a_quantizer_share_its_constants(load):
    graph = graph_of(Quantized(load(NETWORKS["MaxPool"]())))
    scale = {n.input[0]: n.input[1] for n in graph.node if n.op_type == "QuantizeLinear"}
    assert scale["a"] == scale["h"] != scale["x"]


def test_a_quantized_output_that_others_read_too_keeps_its_name(load):
    quantized = Quantized(load(NETWORKS["four outputs"]()))
    graph = graph_of(quantized)
    assert [v.name for v in graph.output] == ["a", "c", "s", "d"]
    producers = {name: n.op_type for n in graph.node for name in n.output}
    assert [producers[v.name] for v in graph.output] == [
        "DequantizeLinear",
        "DequantizeLinear",
        "Sigmoid",
        "DequantizeLinear",
    ]


@pytest.mark.parametrize(
    "names",
    [
        ["x_quantized"],
        ["x_dequantized", "x_quantized"],
        ["x_scale", "x_zero_point"],
        ["x_quantized", "x_distq1_quantized"],
        ["y_before_quantizer"],
    ],
)
def test_tensors_of_the_user_that_are_called_as_ours_would_be_are_kept_apart(load, names):
    b = Builder(1)
    t = b.conv("x", (4, 4))
    for name in names:
        t = b.node("LeakyRelu", t, output=name, alpha=0.5)
    b.conv(t, (4, 3), output="y")
    quantized = Quantized(load(b.model({"x": IMAGE}, ["y"])))
    assert set(names) <= {name for node in graph_of(quantized).node for name in node.output}
    assert quantized.sqnr() > 25


def test_an_input_read_by_layers_and_float_nodes_is_quantized_once(load):
    b = Builder()
    b.node("Mul", b.conv("x", (4, 4)), b.node("Exp", "x"), output="h")
    b.conv("h", (4, 3), output="y")
    graph = graph_of(Quantized(load(b.model({"x": IMAGE}, ["y"]))))
    assert sum(n.op_type == "QuantizeLinear" and n.input[0] == "x" for n in graph.node) == 1
