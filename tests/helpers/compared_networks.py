"""A small network with one operator between two products, to compare what is made of a file with it."""

from __future__ import annotations

import numpy as np
from onnx import TensorProto, helper, numpy_helper

from distq.data.samples import InputSpec

SPECS = [InputSpec("x", (None, 4), "float32")]


def network(op="Relu", opset=17, domain="", **attributes):
    """The operator is of ``domain``; those of ONNX Runtime and of a user's own are declared."""
    rng = np.random.default_rng(0)
    weights = [numpy_helper.from_array(rng.normal(size=(4, 4)).astype(np.float32), n) for n in "ab"]
    nodes = [
        helper.make_node("MatMul", ["x", "a"], ["t"]),
        helper.make_node(op, ["t"], ["u"], domain=domain, **attributes),
        helper.make_node("MatMul", ["u", "b"], ["y"]),
    ]
    ends = [helper.make_tensor_value_info(n, TensorProto.FLOAT, ["N", 4]) for n in "xy"]
    graph = helper.make_graph(nodes, "network", ends[:1], ends[1:], weights)
    opsets = {"": opset, "com.microsoft": 1, "mine": 1}
    imports = [helper.make_opsetid(*pair) for pair in opsets.items()]
    return helper.make_model(graph, opset_imports=imports, ir_version=8)
