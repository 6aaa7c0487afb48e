import onnx
import onnx_ir as ir
import pytest

from distq.graph.no_layers import why_no_layers
from distq.targets.operators import LAYERS

BRANCHES = """<ir_version: 8, opset_import: ["" : 17]>
g (float[1, 4] x, bool c) => (float[1, 4] y) <float[4, 4] w = {WEIGHTS}> {
    y = If (c) <
        then_branch = t () => (float[1, 4] a) { a = MatMul (x, w) },
        else_branch = e () => (float[1, 4] b) { b = Relu (x) }
    >
}"""

ROUNDS = """<ir_version: 8, opset_import: ["" : 17]>
g (float[1, 4] x, int64 n, bool c) => (float[1, 4] y) <float[4, 4] w = {WEIGHTS}> {
    y = Loop (n, c, x) <
        body = b (int64 i, bool go, float[1, 4] h) => (bool on, float[1, 4] next) {
            on = Identity (go)
            next = MatMul (h, w)
        }
    >
}"""


@pytest.mark.parametrize(
    ("text", "where", "remedy"),
    [(BRANCHES, "inside If", "--input-value"), (ROUNDS, "inside Loop", "unrolled")],
)
def test_layers_that_are_in_inner_graphs_alone_are_told_with_a_remedy_that_fits(text, where, remedy):
    graph = ir.from_proto(onnx.parser.parse_model(text.replace("WEIGHTS", ", ".join(["1.0"] * 16)))).graph
    told = why_no_layers(graph, LAYERS)
    assert where in told
    assert remedy in told


def test_convolutions_in_the_layout_of_a_processor_are_told_with_the_remedy():
    text = """<ir_version: 8, opset_import: ["" : 17, "com.microsoft.nchwc" : 1]>
    g (float[1, 8, 4, 4] x, float[8, 8, 1, 1] w) => (float[1, 8, 4, 4] y) {
        y = com.microsoft.nchwc.Conv (x, w)
    }"""
    told = why_no_layers(ir.from_proto(onnx.parser.parse_model(text)).graph, LAYERS)
    assert "com.microsoft.nchwc" in told
    assert "ORT_ENABLE_BASIC" in told


def test_layers_without_an_integer_kernel_are_told_to_stay_as_they_are():
    text = """<ir_version: 8, opset_import: ["" : 17]>
    g (float[1, 2, 4, 4] x) => (float[1, 2, 4, 4] y) <float[2, 1, 1, 1] w = {1.0, 2.0}> {
        y = ConvTranspose <group = 2> (x, w)
    }"""
    told = why_no_layers(ir.from_proto(onnx.parser.parse_model(text)).graph, LAYERS)
    assert "ConvTranspose has groups" in told
    assert told.endswith("keep it as it is")
