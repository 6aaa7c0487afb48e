"""Decoders: from the outputs of known detectors to boxes and scores. Each cites where its arithmetic stands.

A decoder takes the outputs in the network's order and the size (height, width) of its input.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from distq.errors import ModelError
from distq.search.measures.cells import Cells
from distq.search.measures.grids import (
    around,
    by_distances,
    expected,
    exponential,
    grid,
    sigmoid,
    softmax,
    strides_of,
)

Array = npt.NDArray[Any]
Size = tuple[int, int]
Decoder = Callable[[Sequence[Array], Size], Cells]

ANCHORS = (
    ((10, 13), (16, 30), (33, 23)),
    ((30, 61), (62, 45), (59, 119)),
    ((116, 90), (156, 198), (373, 326)),
)
"""Pixels, by stride 8, 16 and 32 (YOLOv3, yolov3.cfg; YOLOv5 has the same)."""

_TINY_ANCHORS = (((10, 14), (23, 27), (37, 58)), ((81, 82), (135, 169), (344, 319)))
"""By stride 16 and 32 (YOLOv3-tiny, yolov3-tiny.cfg)."""


def yolov3(outputs: Sequence[Array], size: Size) -> Cells:
    """Maps of (x, y, w, h, object, classes) before the sigmoid (Redmon and Farhadi, YOLOv3)."""
    return _anchored(outputs, size, lambda xy: xy, lambda wh, anchor: exponential(wh) * anchor)


def yolov5(outputs: Sequence[Array], size: Size) -> Cells:
    """The same maps decoded as YOLOv5 and v7 do, or rows decoded already (ultralytics/yolov5, yolo.py)."""
    if len(outputs) == 1 and outputs[0].ndim == 3:
        return yolox_decoded(outputs, size)
    return _anchored(
        outputs, size, lambda xy: 2 * xy - 0.5, lambda wh, anchor: (2 * sigmoid(wh)) ** 2 * anchor
    )


def yolox(outputs: Sequence[Array], size: Size) -> Cells:
    """Rows (x, y, w, h, object, classes) in strides, the sigmoid done (Megvii YOLOX, demo_utils.py)."""
    rows = _rows(outputs[0])
    places = grid(size, _strides(size, len(rows)))
    centres = (rows[:, :2] + places[:, :2]) * places[:, 2:]
    return Cells(around(centres, exponential(rows[:, 2:4]) * places[:, 2:]), rows[:, 4:5] * rows[:, 5:])


def yolox_decoded(outputs: Sequence[Array], size: Size) -> Cells:
    """Rows (centre, sides, object, classes) in pixels, the sigmoid done."""
    del size
    rows = _rows(outputs[0])
    return Cells(around(rows[:, :2], np.maximum(rows[:, 2:4], 0)), rows[:, 4:5] * rows[:, 5:])


def yolov8(outputs: Sequence[Array], size: Size) -> Cells:
    """YOLOv8, v9, 11 and 12 (ultralytics, head.py).

    One output (1, 4 + classes, cells): centre and sides in pixels, the sigmoid done. Or maps of 4 x 16 bins
    and class scores before the sigmoid.
    """
    if len(outputs) == 1 and outputs[0].ndim == 3:
        rows = _rows(outputs[0].swapaxes(1, 2))
        return Cells(around(rows[:, :2], np.maximum(rows[:, 2:4], 0)), rows[:, 4:])
    maps = sorted(outputs, key=lambda output: -output.shape[2])
    rows = np.concatenate([_rows(m.reshape(1, m.shape[1], -1).swapaxes(1, 2)) for m in maps])
    places = grid(size, [round(size[0] / m.shape[2]) for m in maps])
    distances = expected(rows[:, :64].reshape(-1, 4, 16)) * places[:, 2:]
    return Cells(by_distances((places[:, :2] + 0.5) * places[:, 2:], distances), sigmoid(rows[:, 64:]))


def nanodet(outputs: Sequence[Array], size: Size) -> Cells:
    """Rows of class scores and 4 x 8 or 4 x 11 bins (RangiLyu/nanodet, nanodet_head.py: three maps).

    NanoDet-Plus has four maps, and its cells are at their left top corner, not their middle
    (nanodet_plus_head.py).
    """
    rows = _rows(outputs[0])
    strides = _strides(size, len(rows))
    places = grid(size, strides)
    bins = nanodet_bins(rows.shape[1])[0]
    classes = rows.shape[1] - 4 * bins
    offset = 0.0 if len(strides) == 4 else 0.5
    distances = expected(rows[:, classes:].reshape(-1, 4, bins)) * places[:, 2:]
    return Cells(by_distances((places[:, :2] + offset) * places[:, 2:], distances), rows[:, :classes])


def nanodet_bins(columns: int) -> list[int]:
    """Bins of a side in rows of so many columns: 11 where classes come to 80 or 20 then, else the usual 8."""
    eleven = [11] if columns - 44 in {80, 20} else []
    return [*eleven, *([8] if columns > 32 else [])]


def ssd(outputs: Sequence[Array], size: Size) -> Cells:
    """SSD and its relatives such as Ultra-Light (Liu et al., SSD).

    Corners (1, n, 4) as parts of the picture and class scores (1, n, classes), the background first. Or what
    Caffe's DetectionOutput reads: locations (1, 4n), scores (1, n x classes) and prior boxes (1, 2, 4n).
    """
    priors = [output for output in outputs if output.ndim == 3 and output.shape[1] == 2]
    if len(outputs) == 3 and priors:
        prior, variance = priors[0].reshape(2, -1, 4).astype(np.float64)
        location = next(o for o in outputs if o is not priors[0] and o.size == prior.size)
        scores = next(o for o in outputs if o is not priors[0] and o is not location)
        moved = location.reshape(-1, 4).astype(np.float64) * variance
        sides = prior[:, 2:] - prior[:, :2]
        centres = (prior[:, :2] + prior[:, 2:]) / 2 + moved[:, :2] * sides
        corners = around(centres, sides * exponential(moved[:, 2:]))
        rows = scores.reshape(len(prior), -1)
    else:
        corners, rows = map(_rows, _boxes_and_scores(outputs))
    chances = rows if is_distribution(rows) else softmax(rows)
    return Cells(corners * _scale(size), chances[:, 1:].astype(np.float64))


def detr(outputs: Sequence[Array], size: Size) -> Cells:
    """Queries: centre and sides (1, n, 4) as parts of the picture, and logits (1, n, classes) (RT-DETR)."""
    boxes, logits = map(_rows, _boxes_and_scores(outputs))
    scores = logits if logits.min(initial=0) >= 0 and logits.max(initial=0) <= 1 else sigmoid(logits)
    return Cells(around(boxes[:, :2], boxes[:, 2:]) * _scale(size), scores)


def end_to_end(outputs: Sequence[Array], size: Size) -> Cells:
    """Rows that are suppressed already: (1, n, 6) of corners, score and class, as YOLOv10 and YOLO26 have.

    Or (n, 7) of picture, corners, class and score (YOLOv7, export.py). Or Caffe's DetectionOutput
    (1, 1, n, 7) of picture, class, score and corners as parts of the picture; its classes count from 1, as 0
    is the background (SSD fork, detection_output_layer.cpp).
    """
    rows = outputs[0].reshape(-1, outputs[0].shape[-1]).astype(np.float64)
    if outputs[0].ndim == 4:
        rows = rows[rows[:, 0] >= 0]  # -1: nothing was found
        return _listed(rows[:, 3:7] * _scale(size), rows[:, 2], rows[:, 1] - 1)
    if rows.shape[1] == 7:
        return _listed(rows[:, 1:5], rows[:, 6], rows[:, 5])
    return _listed(rows[:, :4], rows[:, 4], rows[:, 5])


def before_suppression(outputs: Sequence[Array], size: Size) -> Cells:
    """What ONNX's NonMaxSuppression reads: boxes (1, n, 4) and scores (1, classes, n).

    Corners as x, y, x, y, or centre and sides; in pixels, or as parts of the picture where most are under 2.
    Scores that sum to 1 have the background first, as those of :func:`ssd`.
    """
    boxes, scores = outputs[0], outputs[1]
    if boxes.ndim != 3 or scores.ndim != 3 or boxes.shape[1:] != (scores.shape[2], 4):
        raise ModelError(f"no boxes and scores by class in outputs of {[o.shape for o in outputs]}")
    rows = _rows(boxes)
    corners = rows if has_corners(rows) else around(rows[:, :2], rows[:, 2:])
    scale = _scale(size) if np.median(np.abs(rows)) < 2 else np.ones(4)
    chances = np.maximum(scores[0].T.astype(np.float64), 0)
    if chances.shape[1] > 1 and is_distribution(chances):
        chances = chances[:, 1:]
    return Cells(corners * scale, chances)


HEADS: Mapping[str, Decoder] = {
    "yolov3": yolov3,
    "yolov5": yolov5,
    "yolox": yolox,
    "yolox-decoded": yolox_decoded,
    "yolov8": yolov8,
    "nanodet": nanodet,
    "ssd": ssd,
    "detr": detr,
    "end-to-end": end_to_end,
    "nms": before_suppression,
}
"""Decoders by the name that ``--measure detection:NAME`` takes."""


def has_corners(rows: Array) -> bool:
    """Whether boxes are two corners each, the second right of and below the first, in nearly all of them."""
    return bool(np.mean((rows[:, 2:] >= rows[:, :2]).all(axis=1)) > 0.95)


def is_distribution(rows: Array) -> bool:
    """Whether rows are probabilities that sum to 1."""
    return bool(rows.size) and bool(rows.min() >= -0.01) and abs(float(rows.sum(axis=1).mean()) - 1) < 0.05


def _anchored(
    outputs: Sequence[Array],
    size: Size,
    offset: Callable[[npt.NDArray[np.float64]], npt.NDArray[np.float64]],
    sides: Callable[[Array, Array], npt.NDArray[np.float64]],
) -> Cells:
    """Maps (1, anchors x columns, H, W), (1, anchors, H, W, columns) or (1, H, W, anchors x columns)."""
    maps = sorted((_anchor_map(output) for output in outputs), key=lambda m: -m.shape[1])
    anchors = _TINY_ANCHORS if len(maps) == 2 else ANCHORS
    if len(maps) != len(anchors):
        raise ModelError(f"{len(maps)} maps of a detector with anchors: 3 are known, and 2 of YOLOv3-tiny")
    corners, scores = [], []
    for found, own in zip(maps, anchors, strict=True):
        stride = np.array([size[1] / found.shape[2], size[0] / found.shape[1]])
        rows, columns = np.mgrid[: found.shape[1], : found.shape[2]]
        places = np.stack([columns, rows], axis=-1)[np.newaxis]
        centres = (offset(sigmoid(found[..., :2])) + places) * stride
        boxes = around(centres, sides(found[..., 2:4], np.array(own, np.float64)[:, None, None]))
        corners.append(boxes.reshape(-1, 4))
        scores.append((sigmoid(found[..., 4:5]) * sigmoid(found[..., 5:])).reshape(-1, found.shape[-1] - 5))
    return Cells(np.concatenate(corners), np.concatenate(scores))


def _anchor_map(output: Array) -> Array:
    """(anchors, H, W, columns)."""
    if output.ndim == 5:
        return np.asarray(output[0])
    channels_first = output.shape[1] % 3 == 0 and output.shape[1] >= 18
    array = output[0] if channels_first else output[0].transpose(2, 0, 1)
    return np.asarray(array.reshape(3, -1, *array.shape[1:]).transpose(0, 2, 3, 1))


def _boxes_and_scores(outputs: Sequence[Array]) -> tuple[Array, Array]:
    """The output of 4 columns and the other; of two with 4 the second is the boxes, as Ultra-Light has it."""
    boxes = next((o for o in reversed(outputs) if o.ndim == 3 and o.shape[-1] == 4), None)
    other = next((o for o in outputs if o is not boxes and o.ndim == 3), None)
    if boxes is None or other is None:
        raise ModelError(f"no boxes and scores in outputs of shapes {[o.shape for o in outputs]}")
    return boxes, other


def _listed(corners: Array, scores: Array, classes: Array) -> Cells:
    kinds = np.maximum(classes, 0).astype(np.int64)
    table = np.zeros((len(kinds), int(kinds.max(initial=0)) + 1))
    table[np.arange(len(kinds)), kinds] = scores
    return Cells(corners, table, aligned=False)


def _rows(output: Array) -> npt.NDArray[np.float64]:
    return output.reshape(-1, output.shape[-1]).astype(np.float64)


def _scale(size: Size) -> npt.NDArray[np.float64]:
    height, width = size
    return np.array([width, height, width, height], np.float64)


def _strides(size: Size, cells: int) -> tuple[int, ...]:
    found = strides_of(size, cells)
    if found is None:
        raise ModelError(f"{cells} rows are not the cells of an input of {size[0]}x{size[1]}")
    return found
