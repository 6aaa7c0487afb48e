"""Nodes of the random graphs that hold graphs, and calls of functions."""

from __future__ import annotations

import numpy as np
from onnx import TensorProto, helper


def branch(g, v):
    """An If whose branches capture values from outside."""
    if g.opset < 11 or not v.shape:
        return None
    wide = g.r.randint(1, 4)
    weight = g.weight(v.shape[-1], wide)
    shape, names = (*v.shape[:-1], wide), [g.new_name() for _ in range(3)]
    one = helper.make_node("MatMul", [v.name, weight], [names[0]])
    two = [
        helper.make_node("Neg", [v.name], [names[1]]),
        helper.make_node("MatMul", [names[1], weight], [names[2]]),
    ]
    ends = [helper.make_empty_tensor_value_info(name) for name in (names[0], names[2])]
    for end in ends:
        end.type.tensor_type.elem_type = TensorProto.FLOAT
    condition = g.node("Greater", [g.total(v), g.constant(np.float32(0.0))], (), kind="b")
    return g.node(
        "If", [condition], shape,
        then_branch=helper.make_graph([one], "then", [], ends[:1]),
        else_branch=helper.make_graph(two, "else", [], ends[1:]),
    )  # fmt: skip


def loop(g, v):
    """A Loop that adds a captured value to a carried one."""
    if g.opset < 11 or not v.shape:
        return None
    step, going, carried, kept, added = (g.new_name() for _ in range(5))
    inputs = [
        helper.make_tensor_value_info(step, TensorProto.INT64, []),
        helper.make_tensor_value_info(going, TensorProto.BOOL, []),
        helper.make_tensor_value_info(carried, TensorProto.FLOAT, None),
    ]
    body = helper.make_graph(
        [helper.make_node("Identity", [going], [kept]), helper.make_node("Add", [carried, v.name], [added])],
        "body", inputs,
        [helper.make_tensor_value_info(kept, TensorProto.BOOL, []),
         helper.make_tensor_value_info(added, TensorProto.FLOAT, None)],
    )  # fmt: skip
    return g.node("Loop", [g.constant(np.int64(2)), "", v], v.shape, body=body)


def call(g, v):
    """A function of the model's own, with a layer's weight as an argument."""
    if g.opset < 13 or not v.shape:
        return None
    wide = g.r.randint(1, 4)
    weight = g.weight(v.shape[-1], wide)
    g.functions = [
        helper.make_function(
            "local", "Dense", ["a", "w"], ["out"],
            [helper.make_node("MatMul", ["a", "w"], ["m"]), helper.make_node("Relu", ["m"], ["out"])],
            [helper.make_opsetid("", g.opset)],
        )
    ]  # fmt: skip
    return g.node("Dense", [v, weight], (*v.shape[:-1], wide), domain="local")


def scan(g, v):
    """A Scan over the second axis whose body adds a captured constant to what it reads."""
    if g.opset < 11 or len(v.shape) < 2:
        return None
    read, moved = g.new_name(), g.new_name()
    added = g.random(1)
    body = helper.make_graph(
        [helper.make_node("Add", [read, added], [moved])],
        "step",
        [helper.make_tensor_value_info(read, TensorProto.FLOAT, None)],
        [helper.make_tensor_value_info(moved, TensorProto.FLOAT, None)],
    )
    axes = {"scan_input_axes": [1], "scan_output_axes": [1]}
    return g.node("Scan", [v], v.shape, body=body, num_scan_inputs=1, **axes)


INNER = (branch, branch, loop, call, call, scan)
