"""What float writes is rounded for integer kernels alone."""

import onnx
from networks import Builder, Quantized

SPECTRUM = [1, 4, 6, 6]


def spectrum_and_its_logarithm(load):
    """A layer and a Log read what a Sqrt writes, which is an output too."""
    b = Builder()
    power = b.node("Abs", b.conv("x", (4, 4)))
    b.node("Sqrt", power, output="magnitude")
    loud = b.node("Log", b.node("Add", "magnitude", b.random(1)))
    b.conv("magnitude", (4, 4), output="y")
    b.conv(b.node("Tanh", loud), (4, 4), output="z")
    return load(b.model({"x": SPECTRUM}, ["y", "z", "magnitude"]))


def test_a_float_operator_and_an_output_get_what_float_wrote(load):
    made = onnx.load_model_from_string(Quantized(spectrum_and_its_logarithm(load)).exported).graph
    written = {name: node for node in made.node for name in node.output}
    readers = {node.op_type: node for node in made.node}
    assert written[readers["Add"].input[0]].op_type == "Sqrt"
    assert written["magnitude"].op_type == "Sqrt"
    layers = [node for node in made.node if node.op_type == "Conv"]
    assert all(written[node.input[0]].op_type == "DequantizeLinear" for node in layers)


def test_what_an_integer_kernel_writes_is_read_as_it_wrote_it(load):
    b = Builder()
    t = b.conv("x", (4, 4), output="t")
    b.conv(t, (4, 4), output="y")
    b.node("Tanh", t, output="z")
    loaded = load(b.model({"x": SPECTRUM}, ["y", "z"]))
    made = onnx.load_model_from_string(Quantized(loaded).exported).graph
    written = {name: node for node in made.node for name in node.output}
    tanh = next(node for node in made.node if node.op_type == "Tanh")
    assert written[tanh.input[0]].op_type == "DequantizeLinear"


def test_float_gets_an_input_of_the_network_as_it_is_given(load):
    b = Builder()
    b.conv("x", (4, 4), output="y")
    b.node("Transpose", "x", output="turned", perm=[0, 2, 3, 1])
    made = Quantized(load(b.model({"x": SPECTRUM}, ["y", "turned"])))
    graph = onnx.load_model_from_string(made.exported).graph
    turn = next(node for node in graph.node if node.op_type == "Transpose")
    assert list(turn.input) == ["x"]
