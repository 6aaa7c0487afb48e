"""What is said of a file that cannot be used, and that others can."""

import numpy as np
import onnx
import onnxruntime
import pytest
from networks import Builder, assert_computes_the_same, feeds_of, load, run_literally, write
from onnx import TensorProto, helper

from distq.errors import ModelError
from distq.graph.load import load_model
from distq.graph.read import read_proto

IMAGE = [1, 4, 6, 6]
INTEGER_OPERATORS = [
    *((op, "") for op in ("QuantizeLinear", "DequantizeLinear", "DynamicQuantizeLinear")),
    *((op, "") for op in ("QLinearConv", "QLinearMatMul", "ConvInteger", "MatMulInteger")),
    *((op, "com.microsoft") for op in ("QGemm", "QLinearAdd", "QAttention", "QuantizeLinear")),
    *((op, "com.microsoft") for op in ("DynamicQuantizeMatMul", "MatMulIntegerToFloat", "QOrderedMatMul")),
]


def two_layers(b=None):
    b = b or Builder()
    b.conv(b.node("Relu", b.conv("x", (4, 4))), (4, 3), output="y")
    return b.model({"x": IMAGE}, ["y"], 17)


def message(folder, proto):
    with pytest.raises(ModelError) as caught:
        load(folder, proto)
    text = str(caught.value)
    assert "\n" not in text
    return text


@pytest.mark.parametrize(("op", "domain"), INTEGER_OPERATORS)
@pytest.mark.parametrize("inside", [False, True])
def test_a_network_with_integer_operators_is_quantized_already(tmp_path, monkeypatch, op, domain, inside):
    monkeypatch.setattr(
        onnx.checker, "check_model", lambda _: None
    )  # the operator's other inputs do not matter
    proto = two_layers()
    node = helper.make_node(op, ["y"], ["q"], domain=domain)
    if inside:
        end = helper.make_tensor_value_info("q", TensorProto.FLOAT, None)
        branch = helper.make_graph([node], "branch", [], [end])
        node = helper.make_node("If", ["x"], ["z"], then_branch=branch, else_branch=branch)
    proto.graph.node.append(node)
    text = message(tmp_path, proto)
    assert "quantized already" in text
    assert op in text


def test_nodes_that_share_a_name_get_their_own_as_onnx_runtime_wants_it(tmp_path):
    proto = two_layers()
    for node in proto.graph.node:
        node.name = "node"
    with pytest.raises(Exception, match="same node name"):
        onnxruntime.InferenceSession(proto.SerializeToString(), providers=["CPUExecutionProvider"])
    path = write(tmp_path, proto)
    feeds = feeds_of(proto)
    found = run_literally(read_proto(path)[0], feeds)["y"]
    np.testing.assert_allclose(run_literally(load_model(path).serialized(), feeds)["y"], found, atol=1e-5)


def test_an_output_of_unknown_rank_is_no_damage(tmp_path):
    proto = two_layers()
    proto.graph.output[0].type.tensor_type.ClearField("shape")
    assert_computes_the_same(load(tmp_path, proto), proto)


def test_a_map_is_refused_by_name(tmp_path):
    b = Builder()
    b.node("Softmax", b.node("Gemm", "x", b.random(4, 3)), output="y")
    b.node("ZipMap", "y", output="z", domain="ai.onnx.ml", classlabels_strings=["a", "b", "c"])
    proto = b.model({"x": [1, 4]}, ["y"], 15, domains=["ai.onnx.ml"])
    value = proto.graph.output.add(name="z")
    map_type = value.type.sequence_type.elem_type.map_type
    map_type.key_type = TensorProto.STRING
    map_type.value_type.tensor_type.elem_type = TensorProto.FLOAT
    text = message(tmp_path, proto)
    assert "z is a map" in text
    assert "damaged" not in text


def test_an_input_of_unknown_rank_is_refused_by_name(tmp_path):
    proto = two_layers()
    proto.graph.input[0].type.tensor_type.ClearField("shape")
    assert "input x has no shape" in message(tmp_path, proto)


def test_an_input_of_text_is_refused_by_name(tmp_path):
    b = Builder()
    keys = {"keys_strings": ["a", "b"], "values_int64s": [0, 1]}
    numbers = b.node("LabelEncoder", "word", domain="ai.onnx.ml", **keys)
    b.node("MatMul", b.node("Gather", b.random(2, 4), numbers), b.random(4, 3), output="y")
    proto = b.model({"word": [1, 5]}, ["y"], 17, domains=["ai.onnx.ml"])
    proto.graph.input[0].type.tensor_type.elem_type = TensorProto.STRING
    assert "input word is text: cut the model behind what makes numbers of it" in message(tmp_path, proto)


def test_an_operator_of_another_runtime_is_named(tmp_path):
    proto = two_layers()
    proto.graph.node[1].op_type, proto.graph.node[1].domain = "Mystery", "mine"
    proto.opset_import.append(helper.make_opsetid("mine", 1))
    text = message(tmp_path, proto)
    assert "mine.Mystery" in text
    assert "damaged" not in text
