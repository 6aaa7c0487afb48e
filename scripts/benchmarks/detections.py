"""Boxes out of two detectors' raw outputs, and how many of them two models have in common."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

FloatArray = npt.NDArray[np.float32]

SAME_BOX = 0.5
"""Two boxes of one class are the same object from this intersection over union on."""


@dataclass(frozen=True)
class Boxes:
    """Detections of one photo: corners (n, 4) as x1 y1 x2 y2, scores (n,), classes (n,); best score first."""

    corners: FloatArray
    scores: FloatArray
    classes: npt.NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.scores)


def faces(scores: FloatArray, corners: FloatArray) -> Boxes:
    """Faces of version-RFB-320: score over 0.7, NMS at 0.3.

    Args:
        scores: (1, 4420, 2), background and face.
        corners: (1, 4420, 4), as fractions of the image.
    """
    found = scores[0, :, 1]
    return _suppress(corners[0], found, np.zeros(len(found), np.int64), least_score=0.7, overlap=0.3)


def objects(output: FloatArray) -> Boxes:
    """Objects of YOLOX at 416x416: score over 0.3, NMS at 0.5 within a class.

    Args:
        output: (1, 3549, 85): centre and size in strides, objectness, 80 classes; strides 8, 16, 32.
    """
    raw = output[0]
    cells = []
    for stride in (8, 16, 32):
        side = 416 // stride
        rows, columns = np.mgrid[:side, :side]
        cells.append(np.stack([columns.ravel(), rows.ravel(), np.full(side * side, stride)], axis=1))
    grid = np.concatenate(cells).astype(np.float32)
    centre = (raw[:, :2] + grid[:, :2]) * grid[:, 2:]
    half = np.exp(np.minimum(raw[:, 2:4], 20)) * grid[:, 2:] / 2  # a broken model must not overflow
    scores = raw[:, 4:5] * raw[:, 5:]
    return _suppress(
        np.concatenate([centre - half, centre + half], axis=1),
        scores.max(axis=1),
        scores.argmax(axis=1),
        least_score=0.3,
        overlap=0.5,
    )


def matched(reference: Boxes, candidate: Boxes) -> int:
    """How many boxes of ``reference`` have one of their own in ``candidate``: same class, IoU from 0.5 on."""
    overlaps = _overlaps(reference.corners, candidate.corners)
    overlaps[reference.classes[:, None] != candidate.classes[None, :]] = 0
    count = 0
    for row in overlaps:
        if row.size and row.max() >= SAME_BOX:
            overlaps[:, row.argmax()] = 0  # taken; rows are views, so later ones see it
            count += 1
    return count


def _suppress(
    corners: FloatArray,
    scores: FloatArray,
    classes: npt.NDArray[np.int64],
    *,
    least_score: float,
    overlap: float,
) -> Boxes:
    """Keep boxes of enough score, best first, that overlap no kept one of their class."""
    order = np.argsort(-scores, kind="stable")
    order = order[scores[order] > least_score]
    overlaps = _overlaps(corners[order], corners[order])
    kept: list[int] = []
    for i in range(len(order)):
        rivals = [k for k in kept if classes[order[k]] == classes[order[i]]]
        if not (overlaps[i, rivals] > overlap).any():
            kept.append(i)
    best = order[kept]
    return Boxes(corners[best], scores[best], classes[best])


def _overlaps(one: FloatArray, other: FloatArray) -> npt.NDArray[Any]:
    """Intersection over union of every pair, shape (len(one), len(other))."""
    low = np.maximum(one[:, None, :2], other[None, :, :2])
    high = np.minimum(one[:, None, 2:], other[None, :, 2:])
    shared = np.prod(np.maximum(high - low, 0), axis=2)
    areas = [np.prod(np.maximum(boxes[:, 2:] - boxes[:, :2], 0), axis=1) for boxes in (one, other)]
    union = areas[0][:, None] + areas[1][None, :] - shared
    return np.asarray(shared / np.maximum(union, 1e-12))
