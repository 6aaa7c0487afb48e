"""Boxes out of two detectors' raw outputs, and how many of them two models have in common."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from distq.search.measures.boxes import Boxes, suppress

FloatArray = npt.NDArray[np.float32]


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


def _suppress(
    corners: FloatArray,
    scores: FloatArray,
    classes: npt.NDArray[np.int64],
    *,
    least_score: float,
    overlap: float,
) -> Boxes:
    """Keep boxes of enough score, best first, that overlap no kept one of their class."""
    found = Boxes(corners.astype(np.float64), scores.astype(np.float64), classes).over(least_score)
    return suppress(found, overlap, len(found))
