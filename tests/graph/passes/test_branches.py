"""An If whose condition never changes: the branch that it takes is part of the network."""

import numpy as np
import onnx
import onnx_ir as ir
import pytest
from networks import assert_computes_the_same, node_types, run_literally

HEAD = '<ir_version: 8, opset_import: ["" : 17]>'
WEIGHTS = f"float[4, 4] w = {{{', '.join(str(i % 5 / 4 - 0.5) for i in range(16))}}}"


@pytest.mark.parametrize(("taken", "types"), [(1, ["Gemm", "Relu"]), (0, ["Gemm", "Neg"])])
def test_the_branch_that_is_taken_stands_in_the_place_of_an_if(load, taken, types):
    proto = onnx.parser.parse_model(f"""{HEAD} g (float[1, 4] x) => (float[1, 4] y)
        <{WEIGHTS}, bool c = {{{taken}}}> {{
        y = If (c) <
            then_branch = t () => (float[1, 4] a) {{ m = MatMul (x, w) a = Relu (m) }},
            else_branch = e () => (float[1, 4] a) {{ m = MatMul (x, w) a = Neg (m) }}
        >
    }}""")
    loaded = load(proto)
    assert node_types(loaded) == types
    assert_computes_the_same(loaded, proto)


@pytest.mark.parametrize("batch", ["1", "N"])
def test_a_condition_on_a_known_size_is_decided(load, batch):
    """What torch writes for squeeze(1) where it did not know the size, one If inside another."""
    proto = onnx.parser.parse_model(f"""{HEAD} g (float[{batch}, 1, 4] x) => (float[{batch}, 4] y)
        <{WEIGHTS}, int64 axis = {{1}}, int64 one = {{1}}, int64[1] axes = {{1}}> {{
        s = Shape (x)
        d = Gather (s, axis)
        c = Equal (d, one)
        z = If (c) <
            then_branch = t () => (float[1, 4] a) {{
                r = Shape (x)
                e = Gather (r, axis)
                f = Equal (e, one)
                a = If (f) <
                    then_branch = u () => (float[1, 4] b) {{ b = Squeeze (x, axes) }},
                    else_branch = v () => (float[1, 1, 4] b) {{ b = Identity (x) }}
                >
            }},
            else_branch = n () => (float[1, 1, 4] a) {{ a = Identity (x) }}
        >
        y = MatMul (z, w)
    }}""")
    loaded = load(proto)
    assert "If" not in node_types(loaded)
    assert_computes_the_same(loaded, proto)


def test_names_and_constants_of_branches_stay_apart(load):
    branch = f"() => (float[1, 4] a) <{WEIGHTS}> {{ m = MatMul (%s, w) a = Relu (m) }}"
    proto = onnx.parser.parse_model(f"""{HEAD}
        g (float[1, 4] x) => (float[1, 4] y, float[1, 4] z, float[1, 4] s) <bool c = {{1}}> {{
        y = If (c) <then_branch = t {branch % "x"}, else_branch = e {branch % "x"}>
        z = If (c) <then_branch = u {branch % "y"}, else_branch = v {branch % "y"}>
        s = If (c) <
            then_branch = k () => (float[1, 4] x_same) {{ x_same = Identity (x) }},
            else_branch = l () => (float[1, 4] x_less) {{ x_less = Neg (x) }}
        >
    }}""")
    loaded = load(proto)
    assert node_types(loaded).count("Gemm") == 2
    assert_computes_the_same(loaded, proto)


def test_a_condition_that_a_caller_decides_stays(load):
    proto = onnx.parser.parse_model(f"""{HEAD} g (float[1, 4] x, bool c) => (float[1, 4] y) <{WEIGHTS}> {{
        m = MatMul (x, w)
        y = If (c) <
            then_branch = t () => (float[1, 4] a) {{ a = Relu (m) }},
            else_branch = e () => (float[1, 4] b) {{ b = Neg (m) }}
        >
    }}""")
    made = ir.to_proto(load(proto).model)
    x = np.ones((1, 4), np.float32)
    for c in (True, False):
        feeds = {"x": x, "c": np.full((), c)}
        np.testing.assert_allclose(
            run_literally(made, feeds)["y"], run_literally(proto, feeds)["y"], rtol=1e-6
        )
