"""Operators of the random graphs: each takes the graph so far and a value, and appends nodes that read it.

An operator gives back a new value, or None where it does not fit the value's rank or the opset.
"""

from __future__ import annotations

import math

import numpy as np

UNARY = {
    "Relu": (7, {}), "Sigmoid": (7, {}), "Tanh": (7, {}), "Elu": (7, {"alpha": 0.5}), "Selu": (7, {}),
    "LeakyRelu": (7, {"alpha": 0.1}), "HardSigmoid": (7, {"alpha": 0.25}), "HardSwish": (14, {}),
    "Softplus": (7, {}), "Softsign": (7, {}), "Abs": (7, {}), "Neg": (7, {}), "Erf": (9, {}), "Sin": (7, {}),
    "Ceil": (7, {}), "Floor": (7, {}), "Sign": (9, {}), "Identity": (7, {}),
    "Gelu": (20, {}), "Mish": (18, {}),
    "ThresholdedRelu": (10, {"alpha": 0.3}), "Celu": (12, {}), "Round": (11, {}), "Cos": (7, {}),
    "Hardmax": (7, {"axis": -1}), "LpNormalization": (7, {"axis": -1}), "Atan": (7, {}), "Shrink": (9, {}),
    "Swish": (24, {}),
}  # fmt: skip
"""The first opset that takes each, and attributes."""

REDUCTIONS = ("ReduceMean", "ReduceSum", "ReduceMax", "ReduceMin", "ReduceL2", "ReduceL1", "ReduceSumSquare")


def conv(g, v):
    if not 3 <= len(v.shape) <= 5 or min(v.shape[2:]) < 1:
        return None
    channels, spatial = v.shape[1], v.shape[2:]
    group = g.r.choice([1, 1, 1, channels, 2 if channels % 2 == 0 else 1])
    wide = group * g.r.randint(1, 3) if group > 1 else g.r.randint(1, 6)
    kernel = [g.r.choice([1, 2, 3]) for _ in spatial]
    attributes = {"kernel_shape": kernel} if g.r.random() < 0.6 else {}
    if group > 1:
        attributes["group"] = group
    strides, dilations = [1] * len(spatial), [1] * len(spatial)
    if g.r.random() < 0.3:
        strides = attributes["strides"] = [g.r.choice([1, 2]) for _ in spatial]
    if g.r.random() < 0.15:
        dilations = attributes["dilations"] = [g.r.choice([1, 2]) for _ in spatial]
    span = [d * (k - 1) + 1 for d, k in zip(dilations, kernel, strict=True)]
    if g.r.random() < 0.2 and dilations == [1] * len(spatial):
        attributes["auto_pad"] = g.r.choice(["SAME_UPPER", "SAME_LOWER"])
        sizes = [math.ceil(n / s) for n, s in zip(spatial, strides, strict=True)]
    else:
        begin, end = ([g.r.randint(0, 1) for _ in spatial] for _ in range(2))
        if any(n + b + e < k for n, b, e, k in zip(spatial, begin, end, span, strict=True)):
            begin = end = [k // 2 + 1 for k in span]
        attributes["pads"] = begin + end
        whole = [n + b + e for n, b, e in zip(spatial, begin, end, strict=True)]
        sizes = [(n - k) // s + 1 for n, k, s in zip(whole, span, strides, strict=True)]
    weight = g.weight(wide, channels // group, *kernel)
    return g.node("Conv", [v, weight, *g.bias(wide)], (v.shape[0], wide, *sizes), **attributes)


def conv_transpose(g, v):
    if not 3 <= len(v.shape) <= 5:
        return None
    group = 2 if v.shape[1] % 2 == 0 and g.r.random() < 0.3 else 1
    wide, kernel, stride = g.r.randint(1, 4), g.r.choice([1, 2, 3]), g.r.choice([1, 2])
    spatial = v.shape[2:]
    attributes = {"strides": [stride] * len(spatial), "group": group}
    extra = 1 if stride == 2 and g.r.random() < 0.3 else 0
    if extra:
        attributes["output_padding"] = [1] * len(spatial)
    sizes = [(n - 1) * stride + kernel + extra for n in spatial]
    weight = g.weight(v.shape[1], wide, *[kernel] * len(spatial))
    shape = (v.shape[0], wide * group, *sizes)
    return g.node("ConvTranspose", [v, weight, *g.bias(wide * group)], shape, **attributes)


def gemm(g, v):
    if len(v.shape) != 2:
        return None
    rows, size = v.shape
    wide = g.r.randint(1, 8)
    turned, flipped = g.r.random() < 0.4, g.r.random() < 0.1 and not g.open_batch
    attributes = {"transB": 1} if turned else {}
    if flipped:
        attributes["transA"], rows, size = 1, size, rows
    if g.r.random() < 0.25:
        attributes.update(alpha=g.r.choice([0.5, 2.0]), beta=g.r.choice([0.0, 1.0, 0.5]))
    weight = g.weight(*((wide, size) if turned else (size, wide)))
    inputs = [v, weight]
    kind = g.r.choice(["none", "vector", "vector", "row", "number", "activation"])
    fitting = [o.name for o in g.values if o.kind == "f" and o.shape == (rows, wide)]
    if kind == "activation" and fitting:
        inputs.append(g.r.choice(fitting))
    elif kind != "none" or g.opset < 11:
        inputs.append(g.random(*{"row": (1, wide), "number": (1,)}.get(kind, (wide,))))
    return g.node("Gemm", inputs, (rows, wide), **attributes)


def matmul(g, v):
    if not v.shape:
        return None
    wide = g.r.randint(1, 8)
    if len(v.shape) >= 2 and g.r.random() < 0.15:
        left = g.weight(wide, v.shape[-2])
        return g.node("MatMul", [left, v], (*v.shape[:-2], wide, v.shape[-1]))
    if len(v.shape) >= 3 and g.r.random() < 0.2:
        weight = g.weight(*v.shape[1:-2], v.shape[-1], wide)
    elif g.r.random() < 0.08:
        return g.node("MatMul", [v, g.weight(v.shape[-1])], v.shape[:-1])
    else:
        weight = g.weight(v.shape[-1], wide)
    out = g.node("MatMul", [v, weight], (*v.shape[:-1], wide))
    if g.r.random() < 0.5:
        pair = [out, g.random(wide)]
        return g.node("Add", pair if g.r.random() < 0.5 else pair[::-1], out.shape)
    return out


def matmul_of_two(g, v):
    rank = len(v.shape)
    if rank < 2:
        return None
    lead = v.shape[:-2]
    fitting = [o for o in g.values if o.kind == "f" and len(o.shape) == rank and o.shape[:-2] == lead]
    fitting = [o for o in fitting if o.shape[-1] == v.shape[-1] or o.shape[-2] == v.shape[-1]]
    other = g.r.choice(fitting or [v])
    if other.shape[-2] == v.shape[-1] and g.r.random() < 0.5:
        return g.node("MatMul", [v, other], (*v.shape[:-1], other.shape[-1]))
    if other.shape[-1] != v.shape[-1]:
        return None
    perm = [*range(rank - 2), rank - 1, rank - 2]
    turned = g.node("Transpose", [other], (*other.shape[:-2], other.shape[-1], other.shape[-2]), perm=perm)
    scores = g.node("MatMul", [v, turned], (*v.shape[:-1], other.shape[-2]))
    if g.r.random() < 0.4:
        scores = g.node("Mul", [scores, g.constant(np.float32(v.shape[-1] ** -0.5))], scores.shape)
    if g.r.random() < 0.5:
        scores = g.node("Softmax", [scores], scores.shape, axis=rank - 1)
        return g.node("MatMul", [scores, other], v.shape) if other.shape == v.shape else scores
    return scores


def recurrent(g, v):
    if len(v.shape) != 3:
        return None
    op = g.r.choice(["LSTM", "GRU", "RNN"])
    gates, hidden = {"LSTM": 4, "GRU": 3, "RNN": 1}[op], g.r.randint(1, 4)
    way = g.r.choice(["forward", "reverse", "bidirectional"])
    ways = 2 if way == "bidirectional" else 1
    weights = [g.weight(ways, gates * hidden, v.shape[2]), g.weight(ways, gates * hidden, hidden)]
    extra = g.r.choice([[], [g.random(ways, 2 * gates * hidden)], ["", ""]])
    steps, batch, _ = v.shape
    shapes = [(steps, ways, batch, hidden), (ways, batch, hidden), (ways, batch, hidden)]
    shapes = shapes[: 3 if op == "LSTM" else 2]
    omitted = g.r.choice([[], [], [0], [1], [1, 2], [2]])
    shapes = [None if i in omitted else s for i, s in enumerate(shapes)]
    while shapes and shapes[-1] is None:
        shapes.pop()
    found = g.nodes(op, [v, *weights, *extra], shapes, hidden_size=hidden, direction=way)
    return g.r.choice([o for o in found if o is not None])


def unary(g, v):
    op = g.r.choice([name for name, (since, _) in UNARY.items() if since <= g.opset])
    if not v.shape and "axis" in UNARY[op][1]:
        return None
    return g.node(op, [v], v.shape, **UNARY[op][1])


def clip(g, v):
    low, high = g.r.choice([(0.0, 6.0), (-1.0, 1.0), (None, 1.0), (0.0, None), (-0.5, 3.0), (None, None)])
    if g.opset < 11:
        return g.node(
            "Clip", [v], v.shape, **{k: x for k, x in (("min", low), ("max", high)) if x is not None}
        )
    bounds = ["" if bound is None else g.constant(np.float32(bound)) for bound in (low, high)]
    while bounds and not bounds[-1]:
        bounds.pop()
    return g.node("Clip", [v, *bounds], v.shape)


def prelu(g, v):
    return (
        g.node("PRelu", [v, g.random(v.shape[1], *[1] * (len(v.shape) - 2))], v.shape)
        if v.shape[1:]
        else None
    )


def silu(g, v):
    return g.node("Mul", [v, g.node(g.r.choice(["Sigmoid", "Tanh"]), [v], v.shape)], v.shape)


def pool(g, v):
    if not 3 <= len(v.shape) <= 5:
        return None
    spatial = v.shape[2:]
    op = g.r.choice(["MaxPool", "AveragePool", "GlobalAveragePool", "GlobalMaxPool", "LpPool"])
    if op.startswith("Global"):
        return g.node(op, [v], (*v.shape[:2], *[1] * len(spatial)))
    kernel = [g.r.randint(1, min(3, n)) for n in spatial]
    strides = [g.r.choice([1, 2]) for _ in spatial]
    attributes = {"kernel_shape": kernel, "strides": strides}
    pads = [0] * len(spatial)
    if g.r.random() < 0.3:
        pads = [int(k > 1) for k in kernel]
        attributes["pads"] = pads * 2
    if op == "AveragePool" and g.r.random() < 0.4:
        attributes["count_include_pad"] = 1
    up = op != "LpPool" and g.opset >= 10 and g.r.random() < 0.2
    if up:
        attributes["ceil_mode"] = 1
    sizes = []
    for n, k, s, p in zip(spatial, kernel, strides, pads, strict=True):
        steps = (n + 2 * p - k) / s
        size = (math.ceil(steps) if up else math.floor(steps)) + 1
        if up and (size - 1) * s >= n + p:
            size -= 1  # a window of padding alone is left out
        sizes.append(size)
    shape = (*v.shape[:2], *sizes)
    if op == "MaxPool" and g.opset >= 8 and g.r.random() < 0.15:
        return g.nodes(op, [v], [shape, (shape, "i")], **attributes)[0]
    return g.node(op, [v], shape, **attributes)


def normalize(g, v):  # noqa: PLR0911  # a kind after the other
    rank = len(v.shape)
    if rank < 2:
        return None
    channels = v.shape[1]
    parts = [g.positive(channels), g.random(channels)]
    kinds = ["BatchNormalization", "MeanVarianceNormalization", "LayerNormalization", "LRN"]
    kind = g.r.choice([*kinds, "InstanceNormalization", "GroupNormalization", "RMSNormalization"])
    if kind == "BatchNormalization":
        inputs = [v, *parts, g.random(channels), g.positive(channels)]
        return g.node(kind, inputs, v.shape, **({"epsilon": 1e-3} if g.r.random() < 0.5 else {}))
    if kind == "LayerNormalization" and g.opset >= 17:
        axis = g.r.randint(1, rank - 1) - (rank if g.r.random() < 0.5 else 0)
        extra = [g.random(*v.shape[axis:])] if g.r.random() < 0.6 else []
        return g.node(kind, [v, g.positive(*v.shape[axis:]), *extra], v.shape, axis=axis)
    if kind == "InstanceNormalization" and rank >= 3:
        return g.node(kind, [v, *parts], v.shape)
    if kind == "GroupNormalization" and rank >= 3 and g.opset >= 21:
        return g.node(kind, [v, *parts], v.shape, num_groups=g.r.choice([1, channels]))
    if kind == "RMSNormalization" and g.opset >= 23:
        return g.node(kind, [v, g.positive(v.shape[-1])], v.shape)
    if rank == 4 and (kind == "LRN" or (kind == "MeanVarianceNormalization" and g.opset >= 9)):
        return g.node(kind, [v], v.shape, **({"size": 3} if kind == "LRN" else {}))
    return None


def softmax(g, v):
    if not v.shape:
        return None
    axis = g.r.randint(0 if g.opset < 13 else -len(v.shape), len(v.shape) - 1)
    return g.node(g.r.choice(["Softmax", "Softmax", "LogSoftmax"]), [v], v.shape, axis=axis)


def reduce(g, v):
    if len(v.shape) < 2:
        return None
    op = g.r.choice(REDUCTIONS)
    axes = sorted(g.r.sample(range(1, len(v.shape)), g.r.randint(1, len(v.shape) - 1)))
    keep = g.r.randint(0, 1)
    shape = tuple(1 if i in axes else n for i, n in enumerate(v.shape) if keep or i not in axes)
    inputs, attributes = g.axes(axes, 13 if op == "ReduceSum" else 18)
    return g.node(op, [v, *inputs], shape, keepdims=keep, **attributes)


LAYERS = (conv, conv, conv, conv_transpose, gemm, matmul, matmul, matmul_of_two, recurrent)
POINTWISE = (unary, unary, clip, prelu, silu, pool, pool, normalize, softmax, reduce)
