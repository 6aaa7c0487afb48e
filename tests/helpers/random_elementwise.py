"""Operators of the random graphs on each element: arithmetic, choices, conversions, look-ups."""

from __future__ import annotations

import numpy as np
from onnx import TensorProto


def choose(g, v):
    if g.opset < 9 or not v.shape:
        return None
    truths = [o for o in g.values if o.kind == "b" and o.shape == v.shape]
    if truths and g.r.random() < 0.5:
        condition = g.r.choice(truths)
    else:
        condition = g.node(
            g.r.choice(["Greater", "Less"]), [v, g.constant(np.float32(0.1))], v.shape, kind="b"
        )
    other = g.constant(np.float32(g.r.choice([0.0, -1.0])))
    pair = [v, other] if g.r.random() < 0.5 else [other, v]
    return g.node("Where", [condition, *pair], v.shape)


def cast(g, v):
    kind = g.r.choice(["double", "half", "int64", "half layer", "bool"])
    if kind == "half layer" and len(v.shape) >= 2:
        half = g.node("Cast", [v], v.shape, kind="h", to=TensorProto.FLOAT16)
        wide = g.r.randint(1, 5)
        weight = g.constant((g.rng.normal(size=(v.shape[-1], wide)) * v.shape[-1] ** -0.5).astype(np.float16))
        made = g.node("MatMul", [half, weight], (*v.shape[:-1], wide), kind="h")
        return g.node("Cast", [made], made.shape, to=TensorProto.FLOAT)
    other = {"double": ("d", TensorProto.DOUBLE), "half": ("h", TensorProto.FLOAT16)}
    other |= {"int64": ("i", TensorProto.INT64), "bool": ("b", TensorProto.BOOL)}
    letter, to = other.get(kind, ("d", TensorProto.DOUBLE))
    return g.node("Cast", [g.node("Cast", [v], v.shape, kind=letter, to=to)], v.shape, to=TensorProto.FLOAT)


def with_constant(g, v):
    op = g.r.choice(["Add", "Sub", "Mul", "Div", "Max", "Min", "Pow"])
    if op in {"Max", "Min"} and g.opset < 8:
        return None
    if op == "Pow":
        return g.node("Pow", [v, g.constant(np.float32(2.0))], v.shape)
    kind = g.r.choice(["number", "one", "channel", "last", "neutral"])
    if kind == "neutral":
        made = g.constant(np.float32(op in {"Mul", "Div"}))
    elif kind == "channel" and len(v.shape) >= 2:
        made = g.positive(v.shape[1], *[1] * (len(v.shape) - 2))
    elif kind == "last" and v.shape:
        made = g.positive(v.shape[-1])
    else:
        made = g.constant(
            np.full([1] * (kind == "one" and bool(v.shape)), g.r.choice([0.5, 2.0, 3.0]), np.float32)
        )
    pair = [v, made] if op == "Div" or g.r.random() < 0.6 else [made, v]
    return g.node(op, pair, v.shape)


def of_two(g, v):
    fitting = [
        o for o in g.values if o.kind == "f" and len(o.shape) <= len(v.shape) and _spreads(o.shape, v.shape)
    ]
    other = g.r.choice(fitting or [v])
    op = g.r.choice(["Add", "Add", "Mul", "Sub", "Max", "Min", "Mean", "Sum"])
    if g.opset < 8 and op in {"Max", "Min", "Mean", "Sum"}:
        return None
    inputs = [v, other] if g.r.random() < 0.7 else [other, v]
    if op in {"Max", "Mean", "Sum"} and g.r.random() < 0.3:
        inputs.append(v)
    return g.node(op, inputs, v.shape)


def _spreads(small, large):
    tail = large[len(large) - len(small) :]
    return all(a in {1, b} for a, b in zip(small, tail, strict=True))


def argmax(g, v):
    if len(v.shape) < 2:
        return None
    g.node("ArgMax", [v], v.shape[:-1], kind="i", axis=len(v.shape) - 1, keepdims=0)
    return g.node("Identity", [v], v.shape)


def dropout(g, v):
    if g.opset < 12:
        return g.nodes("Dropout", [v], [v.shape], ratio=0.5)[0]
    return g.nodes("Dropout", [v, *g.r.choice([[], [g.constant(np.float32(0.5))]])], [v.shape])[0]


def embed(g, v):
    """Rows of a table, chosen by int64 values of 0 and 1, beside the value where it fits."""
    del v
    fitting = [o for o in g.values if o.kind == "i" and len(o.shape) <= 3 and o.name in g.small]
    if not fitting:
        return None
    indices, wide = g.r.choice(fitting), g.r.randint(1, 6)
    return g.node("Gather", [g.weight(2, wide), indices], (*indices.shape, wide))


ELEMENTWISE = (
    with_constant,
    with_constant,
    with_constant,
    of_two,
    of_two,
    of_two,
    choose,
    cast,
    argmax,
    dropout,
    embed,
)
