"""Boxes as corners: how much two overlap, and which of many stay."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

FloatArray = npt.NDArray[np.float64]

MOST_CANDIDATES = 3000
"""Boxes that suppression looks at: the best of those of enough score."""


@dataclass(frozen=True)
class Boxes:
    """Detections of one picture, the best score first.

    Attributes:
        corners: float64 (n, 4): left, top, right, bottom.
        scores: float64 (n,).
        classes: int64 (n,).
    """

    corners: FloatArray
    scores: FloatArray
    classes: npt.NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.scores)

    def over(self, score: float) -> Boxes:
        """Those of more than a score."""
        kept = self.scores > score
        return Boxes(self.corners[kept], self.scores[kept], self.classes[kept])


def overlaps(one: FloatArray, other: FloatArray, crowd: npt.NDArray[np.bool_] | None = None) -> FloatArray:
    """Intersection over union of every pair, (len(one), len(other)).

    Where ``crowd`` (len(other),) is set, intersection over the area of ``one``: a crowd holds many of them
    (pycocotools, maskApi.c).
    """
    low = np.maximum(one[:, None, :2], other[None, :, :2])
    high = np.minimum(one[:, None, 2:], other[None, :, 2:])
    shared = np.prod(np.maximum(high - low, 0), axis=2)
    areas = [np.prod(np.maximum(boxes[:, 2:] - boxes[:, :2], 0), axis=1) for boxes in (one, other)]
    union = areas[0][:, None] + areas[1][None, :] - shared
    if crowd is not None:
        union = np.where(crowd[None, :], areas[0][:, None], union)
    return np.asarray(shared / np.maximum(union, 1e-12))


def overlap_of_pairs(one: FloatArray, other: FloatArray) -> FloatArray:
    """Intersection over union of boxes in the same place of both, (n,); 1 for two that are equal."""
    low = np.maximum(one[:, :2], other[:, :2])
    high = np.minimum(one[:, 2:], other[:, 2:])
    shared = np.prod(np.maximum(high - low, 0), axis=1)
    areas = [np.prod(np.maximum(boxes[:, 2:] - boxes[:, :2], 0), axis=1) for boxes in (one, other)]
    found = shared / np.maximum(areas[0] + areas[1] - shared, 1e-12)
    return np.where((one == other).all(axis=1), 1.0, found)


def suppress(boxes: Boxes, overlap: float, most: int) -> Boxes:
    """Keep boxes, best first, that overlap no kept one of their class by more; ``most`` of them."""
    order = np.argsort(-boxes.scores, kind="stable")[:MOST_CANDIDATES]
    kept: list[int] = []
    # in columns, once: to take boxes apart again for each that is kept takes as long again
    left, top, right, bottom = np.ascontiguousarray(boxes.corners[order].T).reshape(4, -1)
    area = np.maximum(right - left, 0) * np.maximum(bottom - top, 0)
    columns = np.stack([left, top, right, bottom, area, boxes.classes[order].astype(np.float64)])
    while order.size and len(kept) < most:
        kept.append(int(order[0]))
        first, rest = columns[:, 0], columns[:, 1:]
        width = np.minimum(first[2], rest[2]) - np.maximum(first[0], rest[0])
        height = np.minimum(first[3], rest[3]) - np.maximum(first[1], rest[1])
        shared = np.maximum(width, 0) * np.maximum(height, 0)
        stays = shared / np.maximum(first[4] + rest[4] - shared, 1e-12) <= overlap
        stays |= rest[5] != first[5]
        order, columns = order[1:][stays], rest[:, stays]
    return Boxes(boxes.corners[kept], boxes.scores[kept], boxes.classes[kept])


def matched(reference: Boxes, candidate: Boxes, overlap: float = 0.5) -> int:
    """How many boxes of ``reference`` have one of their own in ``candidate``: same class, enough overlap."""
    shared = overlaps(reference.corners, candidate.corners)
    shared[reference.classes[:, None] != candidate.classes[None, :]] = 0
    count = 0
    for row in shared:
        if row.size and row.max() >= overlap:
            shared[:, row.argmax()] = 0  # taken; rows are views, so later ones see it
            count += 1
    return count
