"""Layers and options that OpenCV's Caffe runtime lacks or computes otherwise than BVLC, in numpy."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from caffe_cases import detection_case
from caffe_networks import IMAGE, Array, Case, Stored, layer, numbers, relative_error

from distq.exchange.caffe.convert import load_caffe

X, OTHER = numbers(IMAGE, 1), numbers(IMAGE, 2)
ROW = numbers((4,), 5)


def _one(kind: str, *blobs: Stored, shape: tuple[int, ...] = IMAGE, **text: str) -> Case:
    return Case(layer(kind, **text), {"data": shape}, {"y": blobs})


def _two(kind: str, shape: tuple[int, ...], *blobs: Stored, **text: str) -> Case:
    both = {"data": IMAGE, "other": shape}
    return Case(layer(kind, bottom=("data", "other"), **text), both, {"y": blobs})


def _windows(x: Array, size: int, reduce: Callable[..., Array]) -> Array:
    """Windows of ``size`` side by side, those that do not fit left out."""
    n, c, height, width = x.shape
    rows, columns = height // size, width // size
    blocks = x[:, :, : rows * size, : columns * size].reshape(n, c, rows, size, columns, size)
    return reduce(blocks, axis=(3, 5))


def _lrn(x: Array, size: int, alpha: float, beta: float, k: float) -> Array:
    edge = size // 2
    padded = np.pad(x**2, ((0, 0), (edge, edge), (0, 0), (0, 0)))
    total = sum(padded[:, shift : shift + x.shape[1]] for shift in range(size))
    return x / (k + alpha / size * total) ** beta


def _blocks(x: Array, size: int) -> Array:
    """(N, (dy, dx, C), H / size, W / size)."""
    n, c, height, width = x.shape
    parts = x.reshape(n, c, height // size, size, width // size, size)
    return parts.transpose(0, 3, 5, 1, 2, 4).reshape(n, c * size**2, height // size, width // size)


EVEN = (2, 4, 6, 8)
DEEP = (2, 8, 3, 3)
WEIGHT = numbers((168, 5), 100)

BY_HAND: dict[str, tuple[Case, Array]] = {
    "pooling rounds down": (
        _one("Pooling", pooling_param="kernel_size: 2 stride: 2 round_mode: FLOOR"),
        _windows(X, 2, np.max),
    ),
    "lrn with k": (
        _one("LRN", lrn_param="local_size: 3 alpha: 0.5 beta: 0.75 k: 2"),
        _lrn(X, 3, 0.5, 0.75, 2),
    ),
    "lrn with defaults": (_one("LRN"), _lrn(X, 5, 1, 0.75, 1)),
    "log": (_one("Log", log_param="base: 10 scale: 0.5 shift: 2"), np.log10(0.5 * X + 2)),
    "swish": (_one("Swish", swish_param="beta: 2"), X / (1 + np.exp(-2 * X))),
    "dropout that scales in deployment": (
        _one("Dropout", dropout_param="dropout_ratio: 0.25 scale_train: false"),
        X * np.float32(0.75),
    ),
    "threshold": (
        _one("Threshold", threshold_param="threshold: 0.2"),
        (np.float32(0.2) < X).astype(np.float32),
    ),
    "clip": (_one("Clip", clip_param="min: -0.25 max: 0.5"), X.clip(-0.25, 0.5)),
    "bias": (_one("Bias", ROW), X + ROW[:, None, None]),
    "bias by a tensor": (
        _two("Bias", (2, 4), bias_param="axis: 0"),
        X + numbers((2, 4), 2)[:, :, None, None],
    ),
    "scale by a tensor with bias": (
        _two("Scale", (2, 4), numbers((2, 4), 9), scale_param="axis: 0 bias_term: true"),
        X * numbers((2, 4), 2)[:, :, None, None] + numbers((2, 4), 9)[:, :, None, None],
    ),
    "scale to the end": (
        _one("Scale", numbers((4, 7, 6), 9), scale_param="num_axes: -1"),
        X * numbers((4, 7, 6), 9),
    ),
    "scale by one number": (_one("Scale", np.array([3], np.float32), scale_param="num_axes: 0"), X * 3),
    "axpy": (
        Case(
            layer("Axpy", bottom=("a", "data", "other")), {"a": (2, 4, 1, 1), "data": IMAGE, "other": IMAGE}
        ),
        numbers((2, 4, 1, 1), 1) * numbers(IMAGE, 2) + numbers(IMAGE, 3),
    ),
    "eltwise difference": (_two("Eltwise", IMAGE, eltwise_param="operation: SUB"), X - OTHER),
    "eltwise quotient": (_two("Eltwise", IMAGE, eltwise_param="operation: DIV"), X / OTHER),
    "inner product transposed": (
        _one("InnerProduct", WEIGHT, inner_product_param="num_output: 5 transpose: true bias_term: false"),
        X.reshape(2, -1) @ WEIGHT,
    ),
    "nvidia's batch norm": (
        _one(
            "BatchNorm",
            *(ROW, np.abs(ROW), np.ones(1, np.float32), ROW + 1, ROW - 1),
            batch_norm_param="scale_bias: true",
        ),
        (X - ROW[:, None, None])
        / np.sqrt(np.abs(ROW) + np.float32(1e-5))[:, None, None]
        * (ROW + 1)[:, None, None]
        + (ROW - 1)[:, None, None],
    ),
    "bn of forks": (
        _one("BN", ROW, ROW + 1, ROW - 1, np.abs(ROW), bn_param="eps: 0.5"),
        (X - (ROW - 1)[:, None, None]) / np.sqrt(np.abs(ROW) + 0.5)[:, None, None] * ROW[:, None, None]
        + (ROW + 1)[:, None, None],
    ),
    "bn of forks for inference": (
        _one("BN", ROW, ROW + 1, bn_param="bn_mode: INFERENCE"),
        X * ROW[:, None, None] + (ROW + 1)[:, None, None],
    ),
    "mvn adds eps to the deviation": (
        _one("MVN", mvn_param="eps: 0.5"),
        (X - X.mean((2, 3), keepdims=True)) / (X.std((2, 3), keepdims=True) + 0.5),
    ),
    "reorg": (_one("Reorg", shape=EVEN, reorg_param="stride: 2"), _blocks(numbers(EVEN, 1), 2)),
    "upsample": (_one("Upsample", upsample_param="scale: 3"), X.repeat(3, 2).repeat(3, 3)),
    "upsample by side": (
        _one("Upsample", upsample_param="scale_h: 2 scale_w: 3"),
        X.repeat(2, 2).repeat(3, 3),
    ),
    "interp crops": (
        _one("Interp", interp_param="pad_beg: -1 pad_end: -2 height: 4 width: 3"),
        X[:, :, 1:5, 1:4],
    ),
    "interp shrinks": (
        _one("Interp", shape=(2, 3, 7, 5), interp_param="shrink_factor: 2"),
        numbers((2, 3, 7, 5), 1)[:, :, ::2, ::2],
    ),
    "concat by its old name": (
        _two("Concat", IMAGE, concat_param="concat_dim: 1"),
        np.concatenate([X, OTHER], 1),
    ),
    "tile": (_one("Tile", tile_param="axis: 2 tiles: 3"), np.tile(X, (1, 1, 3, 1))),
    "depthwise by its own name": (
        _one("ConvolutionDepthwise", ROW, convolution_param="num_output: 4 kernel_size: 1 bias_term: false"),
        X * ROW[:, None, None],
    ),
    "sum": (_one("Reduction", reduction_param="axis: 1"), X.sum((1, 2, 3))),
    "sum of absolute values": (
        _one("Reduction", reduction_param="operation: ASUM axis: 2 coeff: 2"),
        2 * np.abs(X).sum((2, 3)),
    ),
    "sum of squares": (_one("Reduction", reduction_param="operation: SUMSQ axis: -1"), (X**2).sum(3)),
    "mean": (_one("Reduction", reduction_param="operation: MEAN axis: 1"), X.mean((1, 2, 3))),
    "argmax": (
        _one("ArgMax"),
        X.reshape(2, -1).argmax(1).astype(np.float32).reshape(2, 1, 1, 1),
    ),
    "argmax with values": (
        _one("ArgMax", argmax_param="out_max_val: true"),
        np.stack([X.reshape(2, -1).argmax(1), X.reshape(2, -1).max(1)], 1)[:, :, None, None].astype(
            np.float32
        ),
    ),
    "argmax along an axis": (
        _one("ArgMax", argmax_param="axis: 1 top_k: 2"),
        (-X).argsort(1)[:, :2].astype(np.float32),
    ),
    "largest along an axis": (
        _one("ArgMax", argmax_param="axis: 1 out_max_val: true"),
        X.max(1, keepdims=True),
    ),
    "permute in part": (_one("Permute", permute_param="order: 0 order: 3"), X.transpose(0, 3, 1, 2)),
    "slice by its old name": (
        Case(layer("Slice", "s", top=("a", "y"), slice_param="slice_dim: 1 slice_point: 3")),
        X[:, 3:],
    ),
    "a loss becomes a softmax": (
        Case(layer("SoftmaxWithLoss", bottom=("data", "label")), {"data": DEEP}),
        np.exp(numbers(DEEP, 1)) / np.exp(numbers(DEEP, 1)).sum(1, keepdims=True),
    ),
}


@pytest.mark.parametrize("name", BY_HAND)
def test_computes_what_caffe_computes(name: str, tmp_path: Path) -> None:
    case, expected = BY_HAND[name]
    model = load_caffe(case.save(tmp_path))
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    (found,) = session.run(["y"], case.feeds())
    assert relative_error(expected, found) < 1e-5


def test_prior_boxes_of_a_size_that_is_no_integer_are_cut_to_one(tmp_path: Path) -> None:
    """As prior_box_layer.cpp of the SSD fork has it; OpenCV keeps the fraction."""
    boxes = layer("PriorBox", bottom=("data", "image"), prior_box_param="min_size: 8.9")
    case = Case(boxes, {"data": (1, 1, 1, 1), "image": (1, 3, 16, 16)})
    session = onnxruntime.InferenceSession(load_caffe(case.save(tmp_path)).SerializeToString())
    (found,) = session.run(["y"], case.feeds())
    assert found[0, 0].tolist() == [0.25, 0.25, 0.75, 0.75]
    assert found[0, 1].tolist() == pytest.approx([0.1] * 4)


def test_what_detections_are_chosen_from_is_scores_of_their_classes(tmp_path: Path) -> None:
    """Networks are compared by it: a mark for what is left out would outweigh every score."""
    limits = "nms_threshold: 0.45 top_k: 5"
    chosen = f"num_classes: 3 nms_param {{ {limits} }} code_type: CENTER_SIZE confidence_threshold: 0.01"
    case = detection_case(chosen)
    model = load_caffe(case.save(tmp_path))
    (suppression,) = (node for node in model.graph.node if node.op_type == "NonMaxSuppression")
    model.graph.output.append(onnx.helper.make_empty_tensor_value_info(suppression.input[1]))
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    rows, scores = session.run(None, case.feeds())
    assert scores.shape[1] == 2
    assert 0 <= scores.min() < scores.max() <= 1
    assert set(rows[0, 0, :, 1]) == {1, 2}
