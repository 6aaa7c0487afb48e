"""Networks stored in float16 or float64 are quantized as the same networks in float32."""

import ml_dtypes
import numpy as np
import onnx
import pytest
from networks import run_literally, sqnr
from onnx import TensorProto

from distq.graph.placement import make_plan
from distq.targets import find_target

HEAD = '<ir_version: 8, opset_import: ["" : 17, "mine" : 1]>'
BITS = (np.arange(16) % 5 / 4 - 0.5).astype(np.float16).view(np.uint16)  # as the parser wants them
WEIGHTS = f"float16[4, 4] w = {{{', '.join(map(str, BITS))}}}"

PLAIN = f"""{HEAD} g (float16[1, 4] x) => (float16[1, 4] y, float16[1, 4] h) <{WEIGHTS}> {{
    a = MatMul (x, w)
    h = Relu (a)
    y = MatMul (h, w)
}}"""

CAST = f"""{HEAD} g (float[1, 4] x) => (float[1, 4] y) <{WEIGHTS}> {{
    half = Constant <value = float16 {{16384}}> ()
    a = Cast <to = 10> (x)
    b = MatMul (a, w)
    c = Mul (b, half)
    y = Cast <to = 1> (c)
}}"""

BRANCHES = f"""{HEAD} g (float16[1, 4] x, bool c) => (float16[1, 4] y) <{WEIGHTS}> {{
    a = MatMul (x, w)
    y = If (c) <
        then_branch = t () => (float16[1, 4] o) {{ o = Relu (a) }},
        else_branch = e () => (float16[1, 4] n) {{ n = Neg (a) }}
    >
}}"""

FUNCTION = f"""{HEAD} g (float16[1, 4] x) => (float16[1, 4] y) <{WEIGHTS}> {{ y = mine.block (x, w) }}
<domain: "mine", opset_import: ["" : 17]>
block (a, b) => (d) {{
    one = Constant <value = float16 {{15360}}> ()
    c = MatMul (a, b)
    d = Add (c, one)
}}"""


@pytest.mark.parametrize("text", [PLAIN, CAST, BRANCHES, FUNCTION])
def test_a_network_in_float16_has_layers_and_the_interface_of_the_file(load, text):
    proto = onnx.parser.parse_model(text)
    kind = proto.graph.input[0].type.tensor_type.elem_type
    feeds = {"x": np.linspace(-1, 2, 4, dtype=onnx.helper.tensor_dtype_to_np_dtype(kind))[None]}
    if len(proto.graph.input) > 1:
        feeds["c"] = np.ones((), np.bool_)
    loaded = load(proto)
    assert make_plan(loaded.model, find_target("ort"), "auto").layers
    made = made_of(loaded)
    assert interface_of(made) == interface_of(proto)
    assert_close(made, proto, feeds)


def in_double(text):
    """The same network in float64, but for its constants inside, which are no weights."""
    proto = onnx.parser.parse_model(text)
    for tensor in proto.graph.initializer:
        values = onnx.numpy_helper.to_array(tensor).astype(np.float64)
        tensor.CopyFrom(onnx.numpy_helper.from_array(values, tensor.name))
    for value in (*proto.graph.input, *proto.graph.output):
        if value.type.tensor_type.elem_type == TensorProto.FLOAT16:
            value.type.tensor_type.elem_type = TensorProto.DOUBLE
    return proto


def test_a_network_in_float64_has_layers_and_the_interface_of_the_file(load):
    proto = in_double(PLAIN)
    loaded = load(proto)
    assert len(make_plan(loaded.model, find_target("ort"), "auto").layers) == 2
    made = made_of(loaded)
    assert interface_of(made) == interface_of(proto)
    assert_close(made, proto, {"x": np.linspace(-1, 2, 4)[None]})


def test_a_network_that_computes_in_bfloat16_inside_has_layers(load):
    proto = onnx.parser.parse_model(CAST.replace("to = 10", "to = 16"))
    for tensor in (proto.graph.initializer[0], proto.graph.node[0].attribute[0].t):
        values = onnx.numpy_helper.to_array(tensor).astype(ml_dtypes.bfloat16)
        tensor.CopyFrom(onnx.numpy_helper.from_array(values, tensor.name))
    made = load(proto)
    assert len(make_plan(made.model, find_target("ort"), "auto").layers) == 1
    x = np.linspace(-1, 2, 4, dtype=np.float32)[None]
    weight = onnx.numpy_helper.to_array(proto.graph.initializer[0]).astype(np.float32)
    (found,) = run_literally(made.serialized(), {"x": x}).values()
    np.testing.assert_allclose(found, x @ weight * 2, rtol=1e-2)


def test_few_numbers_in_float64_stay(load):
    text = PLAIN.replace("float16", "float").replace(
        "y = MatMul (h, w)",
        """z = MatMul (h, w)
    d = Cast <to = 11> (z)
    two = Constant <value = double {2.0}> ()
    e = Mul (d, two)
    y = Cast <to = 1> (e)""",
    )
    text = text.replace(
        WEIGHTS.replace("float16", "float"),
        "float[4, 4] w = {1, 2, 3, 4, 5, 6, 7, 8, 9, 1, 2, 3, 4, 5, 6, 7}",
    )
    loaded = load(onnx.parser.parse_model(text))
    kinds = {value.dtype for node in loaded.model.graph for value in node.outputs}
    assert TensorProto.DOUBLE in kinds


def assert_close(made, proto, feeds):
    found, wanted = (list(run_literally(model, feeds).values()) for model in (made, proto))
    assert [a.dtype for a in found] == [a.dtype for a in wanted]
    assert sqnr(found, wanted) > 55


def made_of(loaded):
    return onnx.load_model_from_string(loaded.serialized())


def test_a_default_of_an_input_in_float16_can_still_be_replaced(load):
    proto = onnx.parser.parse_model(PLAIN)
    proto.graph.input.append(onnx.helper.make_tensor_value_info("shift", TensorProto.FLOAT16, [4]))
    proto.graph.initializer.append(onnx.numpy_helper.from_array(np.ones(4, np.float16), "shift"))
    proto.graph.node[0].output[0] = "product"
    proto.graph.node.insert(1, onnx.helper.make_node("Add", ["product", "shift"], ["a"]))
    made = made_of(load(proto))
    x = np.ones((1, 4), np.float16)
    for feeds in ({"x": x}, {"x": x, "shift": np.full(4, 3, np.float16)}):
        assert_close(made, proto, feeds)


def interface_of(model):
    return [(value.name, value.type) for value in (*model.graph.input, *model.graph.output)]
