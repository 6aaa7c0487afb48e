"""Kernels that integers run on, compared with the same network as it is written, over attributes.

ONNX Runtime's fused graph and the quantized network, run node by node, have the same integers up to rounding.
Where a kernel fails or computes something else, the operator stays in float with a reason.
"""

from __future__ import annotations

import networks
import numpy as np
import pytest
from networks import SETTINGS, Builder, Quantized, sqnr
from zoo import between

from distq.replica.session import Session
from distq.stages.kernels import integer_kernels

LEAST_DB = 25


def constant(array):
    return lambda b: b.constant(np.asarray(array))


def left_out(_):
    return ""


def pool(op, opset=13, **attributes):
    return lambda: between(op, opset=opset, **{"kernel_shape": [3, 3], **attributes})


def on(shape, op, *constants, opset=13, **attributes):
    """MatMul - op - MatMul on a tensor of any shape."""

    def make():
        b = Builder(1)
        a = b.node("MatMul", "x", b.random(shape[-1], shape[-1]))
        b.node(op, a, *(c(b) for c in constants), output="h", **attributes)
        known = b.model({"x": shape}, ["h"], opset).graph.output[0].type.tensor_type.shape.dim
        b.node("MatMul", "h", b.random(known[-1].dim_value, 6), output="y")
        return b.model({"x": shape}, ["y"], opset)

    return make


def resize(scales, opset=19, mode="nearest", **attributes):
    scales = np.asarray(scales, np.float32)
    return lambda: between("Resize", left_out, constant(scales), opset=opset, mode=mode, **attributes)


def cropped(mode="nearest"):
    region = constant(np.array([0, 0, 0.1, 0.2, 1, 1, 0.9, 1.2], np.float32))
    scales = constant(np.array([1, 1, 1, 1], np.float32))
    way = {"coordinate_transformation_mode": "tf_crop_and_resize", "extrapolation_value": 9.0}
    return lambda: between("Resize", region, scales, mode=mode, **way)


def of_two(op, first, second):
    """Two products of these shapes, joined and multiplied again."""

    def make():
        b = Builder(1)
        parts = [b.node("MatMul", n, b.random(s[-1], s[-1])) for n, s in (("left", first), ("right", second))]
        b.node(op, *parts, output="h")
        b.node("MatMul", "h", b.random(np.broadcast_shapes(first, second)[-1], 6), output="y")
        return b.model({"left": first, "right": second}, ["y"])

    return make


def concat(shape, axis):
    def make():
        b = Builder(1)
        parts = [b.node("MatMul", "x", b.random(shape[-1], shape[-1], scale=s)) for s in (0.3, 1, 3)]
        b.node("Concat", *parts, output="h", axis=axis)
        width = shape[-1] * (3 if axis in {-1, len(shape) - 1} else 1)
        b.node("MatMul", "h", b.random(width, 6), output="y")
        return b.model({"x": shape}, ["y"])

    return make


def conv(dimensions, channels, group=1, op="Conv", **attributes):
    def make():
        b = Builder(1)
        first, second = channels
        kernel = [3] * dimensions
        shape = (second, first // group, *kernel) if op == "Conv" else (first, second // group, *kernel)
        b.node(op, "x", b.random(*shape, scale=0.2), b.random(second), output="h", group=group, **attributes)
        b.node("Conv", "h", b.random(4, second, *[1] * dimensions, scale=0.3), output="y")
        return b.model({"x": [1, first, *[7] * dimensions]}, ["y"])

    return make


def product(left, right, op="MatMul", bias=False, **attributes):
    def make():
        b = Builder(1)
        a = b.node("Relu", b.node("MatMul", "x", b.random(left[-1], left[-1])))
        b.node(op, a, b.random(*right), *([b.random(right[-1])] if bias else []), output="y", **attributes)
        return b.model({"x": left}, ["y"])

    return make


def attention(past):
    """com.microsoft.Attention between two products, with or without the keys and values of earlier words."""

    def make():
        b = Builder(1)
        read = [b.node("MatMul", "x", b.random(16, 16)), b.random(16, 48), b.random(48)]
        given = {"x": [1, 5, 16], **({"past": [2, 1, 2, 3, 8]} if past else {})}
        read += ["", "past"] if past else []
        b.node("Attention", *read, output="h", outputs=1 + past, domain="com.microsoft", num_heads=2)
        b.node("MatMul", "h", b.random(16, 6), output="y")
        ends = {"y": [1, 5, 6], **({"h_1": [2, 1, 2, 8, 8]} if past else {})}
        return b.model(given, ends, domains=["com.microsoft"])

    return make


KINDS = {}
"""Networks by name, each of which holds one operator with attributes."""

for kind in ("AveragePool", "MaxPool"):
    KINDS |= {
        f"{kind} {label}": pool(kind, **attributes)
        for label, attributes in {
            "alone": {},
            "strided": {"strides": [2, 1]},
            "padded": {"pads": [1] * 4},
            "padded unevenly": {"pads": [0, 1, 2, 1]},
            "rounded up": {"strides": [2, 2], "ceil_mode": 1, "kernel_shape": [3, 2]},
            "rounded up and padded": {"strides": [2, 2], "ceil_mode": 1, "pads": [1, 0, 1, 0]},
            "rounded up beyond its pads": {"strides": [4, 2], "ceil_mode": 1, "pads": [0, 0, 1, 0]},
            "of the same size": {"auto_pad": "SAME_UPPER", "strides": [2, 2]},
            "of the same size, lower": {"auto_pad": "SAME_LOWER", "strides": [2, 2]},
            "dilated": {"opset": 19, "dilations": [2, 2]},
            "dilated and padded": {"opset": 22, "dilations": [1, 2], "pads": [1] * 4},
            "dilated by one": {"opset": 19, "dilations": [1, 1]},
            "one row": {"kernel_shape": [1, 5]},
        }.items()
    }
    KINDS |= {
        f"{kind} in {len(s)} dimensions": on([1, 4, *s], kind, kernel_shape=[2] * len(s))
        for s in ([8], [5, 5, 6])
    }
KINDS |= {
    "AveragePool that counts pads": pool("AveragePool", pads=[1] * 4, count_include_pad=1),
    "AveragePool rounded up that counts pads": pool(
        "AveragePool", pads=[1] * 4, strides=[2, 2], kernel_shape=[2, 2], ceil_mode=1, count_include_pad=1
    ),
    "AveragePool dilated that counts pads": pool(
        "AveragePool", opset=19, pads=[2] * 4, dilations=[2, 2], count_include_pad=1
    ),
}
for kind in ("GlobalAveragePool", "GlobalMaxPool"):
    KINDS |= {f"{kind} of {s}": on([2, 5, *s], kind) for s in ([6], [3, 5], [4, 4], [2, 3, 4])}
KINDS |= {
    f"Resize {mode} {way} {scale}": resize(
        [1, 1, scale, scale], mode=mode, coordinate_transformation_mode=way
    )
    for mode in ("nearest", "linear", "cubic")
    for way in ("half_pixel", "asymmetric", "align_corners", "pytorch_half_pixel", "half_pixel_symmetric")
    for scale in (2, 0.5, 1.7)
}
KINDS |= {
    f"Resize to the nearest, {way}": resize([1, 1, 1.5, 2.3], nearest_mode=way)
    for way in ("floor", "ceil", "round_prefer_floor", "round_prefer_ceil")
}
KINDS |= {
    f"Resize {mode} to {a} and {b}": resize([1, 1, a, b], mode=mode)
    for mode in ("nearest", "linear", "cubic")
    for a, b in ((0.5, 3), (1, 0.5), (3, 0.75))
}
KINDS |= {f"Resize {mode} of a crop": cropped(mode) for mode in ("nearest", "linear")}
KINDS |= {
    "Resize, antialiased": resize([1, 1, 0.5, 0.5], mode="linear", antialias=1),
    "Resize of axes": resize([0.5, 2], axes=[2, 3]),
    "Resize of channels": on([1, 4, 6, 6], "Resize", left_out, constant(np.array([1, 2, 1, 1], np.float32))),
}
KINDS |= {
    f"Transpose {order}": on([2, 3, 4, 5, 6, 7][: len(order)], "Transpose", perm=order)
    for order in (
        [1, 0],
        [0, 2, 1],
        [2, 0, 1],
        [0, 2, 3, 1],
        [1, 0, 3, 2],
        [0, 4, 1, 2, 3],
        [0, 1, 3, 2, 5, 4],
    )
}
KINDS |= {
    f"Slice from {start} to {end} by {step} on {axis}": on(
        [2, 4, 6, 6], "Slice", *(constant(np.array([v], np.int64)) for v in (start, end, axis, step))
    )
    for start, end, axis, step in (
        (1, 5, 2, 1),
        (0, 100, 3, 2),
        (-1, -100, 3, -1),
        (-1, -100, 1, -2),
        (3, 0, -2, -1),
    )
}
KINDS |= {
    "Reshape": on([2, 4, 6], "Reshape", constant(np.array([0, -1, 3], np.int64))),
    "Flatten": on([2, 4, 6], "Flatten", axis=2),
    "Squeeze": on([2, 1, 6], "Squeeze", constant(np.array([1], np.int64))),
    "Unsqueeze": on([2, 3, 6], "Unsqueeze", constant(np.array([0, 3], np.int64))),
    "DepthToSpace": on([1, 8, 3, 3], "DepthToSpace", blocksize=2),
    "DepthToSpace in columns": on([1, 8, 3, 3], "DepthToSpace", blocksize=2, mode="CRD"),
    "SpaceToDepth": on([1, 2, 6, 6], "SpaceToDepth", blocksize=2),
}
PAIRS = [([2, 3, 4, 5], [2, 3, 4, 5]), ([1, 3, 4, 5], [1, 3, 1, 1]), ([1, 3, 1, 1], [1, 3, 4, 5])]
PAIRS += [([1, 3, 1, 5], [2, 1, 4, 1]), ([2, 3, 5], [3, 5]), ([2, 1], [1, 5]), ([1, 2, 3, 4, 5], [4, 1])]
KINDS |= {f"{op} of {a} and {b}": of_two(op, a, b) for op in ("Add", "Mul") for a, b in PAIRS}
KINDS |= {
    f"Concat of {shape} on {axis}": concat(shape, axis)
    for shape, axes in (([1, 3, 4, 5], (0, 1, 2, 3, -2)), ([2, 3], (0, -1)), ([1, 2, 3, 2, 3], (1, 3)))
    for axis in axes
}
KINDS |= {
    f"Conv of {d} dimensions, {g} groups, {label}": conv(d, c, g, **attributes)
    for d in (1, 2, 3)
    for c, g in (((3, 5), 1), ((8, 16), 8), ((6, 12), 3))
    for label, attributes in {
        "alone": {},
        "dilated": {"dilations": [2] * d, "pads": [1] * 2 * d},
        "strided": {"strides": [2] * d, "pads": [2] * d + [0] * d},
        "of the same size": {"strides": [2] * d, "auto_pad": "SAME_LOWER"},
    }.items()
}
KINDS |= {
    "ConvTranspose": conv(2, (6, 4), op="ConvTranspose", strides=[2, 2]),
    "ConvTranspose of groups": conv(2, (6, 4), 2, op="ConvTranspose", strides=[2, 2]),
    "ConvTranspose with more at its end": conv(
        2, (6, 4), op="ConvTranspose", strides=[2, 2], pads=[1] * 4, output_padding=[1, 1]
    ),
    "ConvTranspose of one dimension": conv(1, (6, 4), op="ConvTranspose", strides=[2]),
    "MatMul of a stack": product([2, 3, 8], (8, 5)),
    "MatMul of a stack of stacks": product([2, 2, 3, 8], (8, 5)),
    "MatMul by a stack": product([2, 3, 8], (2, 8, 5)),
    "MatMul by one of a stack": product([2, 3, 3, 8], (1, 3, 8, 5)),
    "MatMul by a vector": product([2, 3, 8], (8,)),
    "Gemm": product([3, 8], (8, 5), "Gemm", bias=True),
    "Gemm without bias": product([3, 8], (8, 5), "Gemm"),
    "Attention": attention(past=False),
    "Attention with past": attention(past=True),
}


@pytest.mark.parametrize("scheme", ["auto", "symmetric"])
@pytest.mark.parametrize("kind", KINDS)
def test_the_graph_that_runs_computes_what_is_written(tmp_path, kind, scheme):
    quantized = Quantized(networks.load(tmp_path, KINDS[kind]()), scheme=scheme, samples=2)
    written, fused = Session(quantized.exported, SETTINGS), Session(quantized.exported, SETTINGS, fused=True)
    wanted = [output for feeds in quantized.feeds for output in written.run(feeds)]
    found = [output for feeds in quantized.feeds for output in fused.run(feeds)]
    assert sqnr(found, wanted) > LEAST_DB
    assert quantized.sqnr() > LEAST_DB


@pytest.mark.parametrize(
    ("kind", "why"),
    [
        ("AveragePool dilated", "dilations"),
        ("AveragePool dilated and padded", "dilations"),
        ("AveragePool dilated that counts pads", "dilations"),
        ("AveragePool rounded up that counts pads", "counts pads"),
        ("Resize nearest of a crop", "crop"),
        ("Resize linear of a crop", "crop"),
        ("Resize cubic half_pixel 2", "cubic"),
        ("Resize cubic half_pixel 0.5", "cubic"),
    ],
)
def test_what_has_no_kernel_that_computes_the_same_stays_float_and_says_why(tmp_path, kind, why):
    quantized = Quantized(networks.load(tmp_path, KINDS[kind]()), samples=1)
    assert any(why in reason for _, reason in quantized.plan.float_nodes)
    assert set(integer_kernels(quantized.exported).values()).isdisjoint(
        {"QLinearAveragePool", "QLinearResize"}
    )


@pytest.mark.parametrize("kind", ["AveragePool", "Add", "Mul", "Concat", "GlobalAveragePool"])
def test_other_attributes_keep_their_integer_kernels(tmp_path, kind):
    for name, make in KINDS.items():
        if name.split()[0] != kind:
            continue
        quantized = Quantized(networks.load(tmp_path, make()), samples=1)
        if "h" not in dict(quantized.plan.float_nodes):
            assert f"QLinear{kind}" in integer_kernels(quantized.exported).values(), name
