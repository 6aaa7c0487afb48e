"""Operators of the random graphs that move, join or repeat values."""

from __future__ import annotations

import numpy as np


def reshape(g, v):
    size = int(np.prod(v.shape[1:]))
    if not v.shape or size == 0:
        return None
    kind = g.r.choice(["flat", "split", "Flatten", "keep"])
    if kind == "Flatten":
        return g.node("Flatten", [v], (v.shape[0], size))
    if kind == "keep" and len(v.shape) >= 2:
        return g.node("Reshape", [v, g.integers(0, *v.shape[1:])], v.shape)
    rest = (size,)
    factors = [k for k in (2, 3, 4) if size % k == 0]
    if kind == "split" and factors:
        first = g.r.choice(factors)
        rest = (first, size // first)
        halves = [k for k in (2, 3) if rest[1] % k == 0]
        if halves and g.r.random() < 0.6:
            rest = (first, halves[0], rest[1] // halves[0])
    wanted = [g.r.choice([-1, 0, 1]) if v.shape[0] == 1 and not g.open_batch else 0, *rest]
    return g.node("Reshape", [v, g.integers(*wanted)], (v.shape[0], *rest))


def transpose(g, v):
    rank = len(v.shape)
    if rank < 2:
        return None
    perm = [*range(rank)]
    if g.r.random() < 0.7 or g.open_batch:
        perm[1:] = g.r.sample(perm[1:], rank - 1)
    else:
        perm = g.r.sample(perm, rank)
    return g.node("Transpose", [v], [v.shape[i] for i in perm], perm=perm)


def squeeze(g, v):
    ones = [i for i, n in enumerate(v.shape) if n == 1 and (i or not g.open_batch)]
    if ones and g.r.random() < 0.6:
        axis = g.r.choice(ones)
        inputs, attributes = g.axes([axis], 13)
        return g.node("Squeeze", [v, *inputs], v.shape[:axis] + v.shape[axis + 1 :], **attributes)
    if len(v.shape) > 4:
        return None
    axis = g.r.randint(1 if v.shape else 0, len(v.shape))
    inputs, attributes = g.axes([axis], 13)
    return g.node("Unsqueeze", [v, *inputs], (*v.shape[:axis], 1, *v.shape[axis:]), **attributes)


def _axis(g, v, least=2):
    fitting = [i for i, n in enumerate(v.shape) if n >= least and i]
    return g.r.choice(fitting) if fitting else None


def slice_(g, v):
    if (axis := _axis(g, v)) is None:
        return None
    start = g.r.randint(0, v.shape[axis] - 1)
    end = g.r.choice([v.shape[axis], 2**31 - 1, g.r.randint(start + 1, v.shape[axis])])
    shape = list(v.shape)
    if g.opset < 10:
        shape[axis] = min(end, v.shape[axis]) - start
        return g.node("Slice", [v], shape, starts=[start], ends=[end], axes=[axis])
    step = g.r.choice([1, 1, 2, -1])
    if step == -1:
        start, end = -1, -(2**31)
        shape[axis] = v.shape[axis]
    else:
        shape[axis] = len(range(v.shape[axis])[start:end:step])
    return g.node("Slice", [v, *(g.integers(k) for k in (start, end, axis, step))], shape)


def split(g, v):
    if (axis := _axis(g, v)) is None:
        return None
    first = g.r.randint(1, v.shape[axis] - 1)
    sizes = [first, v.shape[axis] - first]
    shapes = [(*v.shape[:axis], n, *v.shape[axis + 1 :]) for n in sizes]
    if g.opset < 13:
        found = g.nodes("Split", [v], shapes, axis=axis, split=sizes)
    else:
        found = g.nodes("Split", [v, g.integers(*sizes)], shapes, axis=axis)
    return g.r.choice(found)


def concat(g, v):
    if len(v.shape) < 2:
        return None
    axis = g.r.randint(1, len(v.shape) - 1)
    rest = [i for i in range(len(v.shape)) if i != axis]
    fitting = [
        o
        for o in g.values
        if o.kind == "f" and len(o.shape) == len(v.shape) and all(o.shape[i] == v.shape[i] for i in rest)
    ]
    parts = [v, *(g.r.choice(fitting) for _ in range(g.r.randint(0, 2)))]
    total = sum(p.shape[axis] for p in parts)
    if g.r.random() < 0.1 and not g.open_batch:
        parts, total = [*parts, g.random(*v.shape)], total + v.shape[axis]
    axis_told = axis - len(v.shape) if g.opset >= 11 and g.r.random() < 0.3 else axis
    return g.node("Concat", parts, (*v.shape[:axis], total, *v.shape[axis + 1 :]), axis=axis_told)


def pad(g, v):
    if (axis := _axis(g, v, 3)) is None:
        return None
    begin, end = [0] * len(v.shape), [0] * len(v.shape)
    begin[axis], end[axis] = g.r.randint(0, 2), g.r.randint(0, 2)
    shape = list(v.shape)
    shape[axis] += begin[axis] + end[axis]
    mode = g.r.choice(["constant", "constant", "reflect", "edge"])
    if g.opset < 11:
        more = {"value": 0.5} if mode == "constant" and g.r.random() < 0.4 else {}
        return g.node("Pad", [v], shape, mode=mode, pads=begin + end, **more)
    value = [g.constant(np.float32(0.5))] if mode == "constant" and g.r.random() < 0.4 else []
    return g.node("Pad", [v, g.integers(*begin, *end), *value], shape, mode=mode)


def gather(g, v):
    if (axis := _axis(g, v, 1)) is None:
        return None
    count, size = g.r.randint(1, 3), v.shape[axis]
    indices = g.constant(np.array([g.r.randrange(size) for _ in range(count)], np.int64))
    if g.r.random() < 0.3:
        scalar = g.constant(np.int64(g.r.randrange(size)))
        return g.node("Gather", [v, scalar], v.shape[:axis] + v.shape[axis + 1 :], axis=axis)
    return g.node("Gather", [v, indices], (*v.shape[:axis], count, *v.shape[axis + 1 :]), axis=axis)


def repeat(g, v):
    if (axis := _axis(g, v, 1)) is None:
        return None
    if g.r.random() < 0.5:
        repeats = [2 if i == axis else 1 for i in range(len(v.shape))]
        shape = [n * r for n, r in zip(v.shape, repeats, strict=True)]
        return g.node("Tile", [v, g.integers(*repeats)], shape)
    if g.opset < 8:
        return None
    shape = [3 if i and n == 1 else n for i, n in enumerate(v.shape)]
    told = [1, *shape[1:]]
    return g.node("Expand", [v, g.integers(*told)], shape)


def enlarge(g, v):
    if len(v.shape) != 4 or max(v.shape[2:]) > 8:
        return None
    factor, mode = g.r.choice([1, 2, 2, 3]), g.r.choice(["nearest", "linear"])
    shape = (*v.shape[:2], v.shape[2] * factor, v.shape[3] * factor)
    scales = [1.0, 1.0, float(factor), float(factor)]
    if g.opset < 9:
        return g.node("Upsample", [v], shape, mode=mode, scales=scales)
    if g.opset < 11:
        op = "Upsample" if g.opset == 9 else "Resize"
        return g.node(op, [v, g.constant(np.array(scales, np.float32))], shape, mode=mode)
    more = {}
    if g.r.random() < 0.6:
        ways = ["half_pixel", "asymmetric", "align_corners", "pytorch_half_pixel"]
        more["coordinate_transformation_mode"] = g.r.choice(ways)
    if mode == "nearest" and g.r.random() < 0.5:
        more["nearest_mode"] = g.r.choice(["floor", "ceil", "round_prefer_ceil"])
    if g.r.random() < 0.25:
        more, mode = {}, "cubic"
    empty = "" if g.opset >= 13 else g.constant(np.zeros(0, np.float32))
    if g.r.random() < 0.3 and not g.open_batch:
        return g.node(
            "Resize", [v, empty, "" if g.opset >= 13 else empty, g.integers(*shape)], shape, mode=mode, **more
        )
    return g.node("Resize", [v, empty, g.constant(np.array(scales, np.float32))], shape, mode=mode, **more)


def shape_of(g, v):
    """A Reshape to the shape that another node reads off: what exporters write."""
    if len(v.shape) < 3:
        return None
    shape = g.node("Shape", [v], (len(v.shape),), kind="i")
    first = g.node("Gather", [shape, g.constant(np.int64(0))], (), kind="i", axis=0)
    inputs, attributes = g.axes([0], 13)
    row = g.node("Unsqueeze", [first, *inputs], (1,), kind="i", **attributes)
    whole = g.node("Concat", [row, g.integers(-1)], (2,), kind="i", axis=0)
    return g.node("Reshape", [v, whole], (v.shape[0], int(np.prod(v.shape[1:]))))


def lower(g, v):
    """A MatMul of a constant of ones with a value: the constant stands on the left."""
    if len(v.shape) != 2:
        return None
    return g.node("MatMul", [g.random(2, v.shape[0]), v], (2, v.shape[1]))


def trilu(g, v):
    return (
        g.node("Trilu", [v], v.shape, upper=g.r.randint(0, 1))
        if g.opset >= 14 and len(v.shape) >= 2
        else None
    )


def cumulate(g, v):
    if g.opset < 11 or len(v.shape) < 2:
        return None
    return g.node("CumSum", [v, g.constant(np.int64(g.r.randint(1, len(v.shape) - 1)))], v.shape)


def depth(g, v):
    if len(v.shape) != 4:
        return None
    n, c, h, w = v.shape
    if c % 4 == 0:
        more = {"mode": g.r.choice(["DCR", "CRD"])} if g.opset >= 11 else {}
        return g.node("DepthToSpace", [v], (n, c // 4, h * 2, w * 2), blocksize=2, **more)
    return (
        g.node("SpaceToDepth", [v], (n, c * 4, h // 2, w // 2), blocksize=2) if h % 2 == w % 2 == 0 else None
    )


def top(g, v):
    if g.opset < 10 or len(v.shape) < 2:
        return None
    count = g.r.randint(1, v.shape[-1])
    shape = (*v.shape[:-1], count)
    return g.nodes("TopK", [v, g.integers(count)], [shape, (shape, "i")])[0]


def einsum(g, v):
    if g.opset < 12 or len(v.shape) != 3:
        return None
    wide = g.r.randint(1, 4)
    return g.node("Einsum", [v, g.weight(v.shape[2], wide)], (*v.shape[:2], wide), equation="abc,cd->abd")


MOVING = (
    reshape, reshape, transpose, squeeze, slice_, split, concat, concat, pad, gather, repeat, enlarge,
    enlarge, shape_of, lower, trilu, cumulate, depth, top, einsum,
)  # fmt: skip
