"""Which detector's outputs these are, from their shapes and values on one sample."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from distq.search.measures.grids import STRIDES, cell_count, strides_of
from distq.search.measures.heads import has_corners, is_distribution, nanodet_bins

Array = npt.NDArray[Any]
Size = tuple[int, int]


def recognise(outputs: Sequence[Array], size: Size) -> str | None:
    """The name of the decoder; None where no known detector has such outputs.

    Args:
        outputs: of the float network on one sample, in its order.
        size: height and width of its input.
    """
    if len(outputs) == 1:
        return _of_one(outputs[0], size)
    if len(outputs) == 2 and all(o.ndim == 3 for o in outputs):
        return _of_boxes_and_scores(outputs)
    if len(outputs) == 3 and any(o.ndim == 3 and o.shape[1] == 2 and o.shape[2] % 4 == 0 for o in outputs):
        return "ssd"
    return _of_maps(outputs) if len(outputs) in {2, 3} else None


def _of_one(output: Array, size: Size) -> str | None:
    shape = output.shape
    if (len(shape), shape[-1]) in {(3, 6), (2, 7), (4, 7)} and not strides_of(size, shape[-2]):
        return "end-to-end"
    if len(shape) != 3 or shape[0] != 1:
        return None
    _, rows, columns = shape
    if strides_of(size, columns) and rows > 4:
        return "yolov8"
    if any(rows == 3 * cell_count(size, strides) for strides in STRIDES) and columns > 5:
        return "yolov5"
    if not strides_of(size, rows) or columns <= 5:
        return None
    return _of_rows(output[0].astype(np.float64))


def _of_rows(rows: npt.NDArray[np.float64]) -> str | None:
    """Rows of one cell each: YOLOX's, in strides or in pixels, or NanoDet's."""
    scores = rows[:, 4:]
    if scores.min() >= -0.01 and scores.max() <= 1.01:
        return "yolox-decoded" if np.median(rows[:, 2:4]) > 6 else "yolox"
    return "nanodet" if nanodet_bins(rows.shape[1]) else None


def _of_boxes_and_scores(outputs: Sequence[Array]) -> str | None:
    boxes = next((o for o in reversed(outputs) if o.shape[-1] == 4), None)
    other = next((o for o in outputs if o is not boxes), None)
    if boxes is None or other is None:
        return None
    if boxes.shape[1] != other.shape[1]:
        return "nms" if boxes is outputs[0] and boxes.shape[1] == other.shape[2] else None
    rows = boxes.reshape(-1, 4)
    corners = has_corners(rows)
    if corners and other.shape[-1] > 1 and is_distribution(other.reshape(-1, other.shape[-1])):
        return "ssd"
    return "detr" if not corners and rows.min() >= -0.5 and rows.max() <= 1.5 else None


def _of_maps(outputs: Sequence[Array]) -> str | None:
    if all(o.ndim == 5 and o.shape[1] == 3 for o in outputs):
        return "yolov5"
    if any(o.ndim != 4 for o in outputs):
        return None
    channels = {o.shape[1] for o in outputs}
    if len(channels) == 1 and min(channels) == 144:  # 80 classes and 4 x 16 bins, not 3 anchors of 43 classes
        return "yolov8"
    if len(channels) == 1 and all(c % 3 == 0 and c >= 18 for c in channels):
        return "yolov3"
    if len(channels) == 1 and min(channels) > 64 and len(outputs) == 3:
        return "yolov8"
    last = {o.shape[3] for o in outputs}
    return "yolov3" if len(last) == 1 and all(c % 3 == 0 and c >= 18 for c in last) else None
