"""COCO's average precision of boxes.

Source: pycocotools, cocoeval.py (T.-Y. Lin and P. Dollar), with all areas and 100 detections of a class in a
picture. The figures are pycocotools' own to the last digits.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from distq.search.measures.boxes import Boxes, overlaps

FloatArray = npt.NDArray[np.float64]

OVERLAPS = np.linspace(0.5, 0.95, 10)
"""Intersections over union from which a detection is right: the figure is the mean over them."""

_RECALLS = np.linspace(0, 1, 101)
MOST = 100
"""Detections of one class in one picture that COCO counts."""

DIFFICULT, CROWD = 1, 2
"""Objects that may be missed or found, and areas with many of them."""


def average_precision(pictures: Sequence[tuple[Boxes, FloatArray]], most: int = MOST) -> FloatArray:
    """Average precision at each of ``OVERLAPS``, (10,), averaged over the classes that have objects.

    Args:
        pictures: the detections of each picture, and its objects (n, 6): corners, class, and 0,
            ``DIFFICULT`` or ``CROWD``.
        most: detections of one class in one picture that count, the best ones.

    Returns:
        NaN where no picture has an object that counts.
    """
    classes = sorted({int(c) for _, objects in pictures for c in objects[:, 4]})
    found = [_of_class(pictures, one, most) for one in classes]
    counted = [precision for precision in found if precision is not None]
    return np.mean(counted, axis=0) if counted else np.full(len(OVERLAPS), np.nan)


def _of_class(pictures: Sequence[tuple[Boxes, FloatArray]], one: int, most: int) -> FloatArray | None:
    """At each overlap; None where no object of the class counts."""
    scores, right, ignored, count = [], [], [], 0
    for boxes, objects in pictures:
        own = np.flatnonzero(boxes.classes == one)
        own = own[np.argsort(-boxes.scores[own], kind="stable")][:most]
        truth = objects[objects[:, 4] == one]
        truth = truth[np.argsort(truth[:, 5] > 0, kind="stable")]  # what counts goes first
        hit, passed = _match(boxes.corners[own], truth)
        scores.append(boxes.scores[own])
        right.append(hit)
        ignored.append(passed)
        count += int(np.count_nonzero(truth[:, 5] == 0))
    if not count:
        return None
    order = np.argsort(-np.concatenate(scores), kind="stable")
    hits, passes = (np.concatenate(part, axis=1)[:, order] for part in (right, ignored))
    return np.array([_area(h & ~p, ~h & ~p, count) for h, p in zip(hits, passes, strict=True)])


def _match(corners: FloatArray, truth: FloatArray) -> tuple[npt.NDArray[np.bool_], npt.NDArray[np.bool_]]:
    """Which detections have an object of their own, and which do not count, each (overlaps, detections)."""
    crowd, ignored = truth[:, 5] == CROWD, truth[:, 5] > 0
    shared = overlaps(corners, truth[:, :4], crowd)
    hit = np.zeros((len(OVERLAPS), len(corners)), np.bool_)
    passed = hit.copy()
    for t, least in enumerate(OVERLAPS):
        taken = np.zeros(len(truth), np.bool_)
        for d in range(len(corners)):
            found = _best(shared[d], float(least), taken & ~crowd, ignored)
            if found is not None:
                taken[found] = True
                hit[t, d], passed[t, d] = True, ignored[found]
    return hit, passed


def _best(
    shared: FloatArray, least: float, taken: npt.NDArray[np.bool_], ignored: npt.NDArray[np.bool_]
) -> int | None:
    """The object that overlaps most, of equals the last; one that does not count only where none does."""
    free = np.where(taken | (shared < min(least, 1 - 1e-10)), -1.0, shared)
    for group in (~ignored, ignored):
        own = np.where(group, free, -1.0)
        if own.size and own.max() >= 0:
            return int(len(own) - 1 - own[::-1].argmax())
    return None


def _area(right: npt.NDArray[np.bool_], wrong: npt.NDArray[np.bool_], count: int) -> float:
    """Mean over 101 recalls of the best precision at that recall or a higher one."""
    rights, wrongs = np.cumsum(right).astype(np.float64), np.cumsum(wrong).astype(np.float64)
    precision = rights / (rights + wrongs + np.spacing(1))
    precision = np.maximum.accumulate(precision[::-1])[::-1]
    places = np.searchsorted(rights / count, _RECALLS, side="left")
    return float(np.mean([precision[p] if p < len(precision) else 0.0 for p in places]))
