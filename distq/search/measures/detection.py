"""Detections: mAP against annotations or the float network's boxes, and how far cells are from float's."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import numpy.typing as npt

from distq.errors import ModelError
from distq.search.measures.average_precision import MOST, average_precision
from distq.search.measures.boxes import Boxes, matched
from distq.search.measures.cells import Cells, difference
from distq.search.measures.heads import HEADS
from distq.search.measures.measure import Facts, Figures, Measure, Outputs, Record

SURE = 0.3
"""Score of a float detection that is taken as an object where there are no annotations."""

_LEAST, _MOST = 0.001, 300
"""Score and number of detections that count for mAP, as YOLO's own evaluations have it."""

_OVERLAP = 0.65
"""Of two boxes of a class, from which the lesser is suppressed."""

_FOUND, _OBJECT, _COMPARED, _SHARED = range(4)
"""Kinds of rows in a record: a detection, an object, sums of cells, and detections shared with float."""

_ERRORS = ("box_error", "class_error", "score_error")
"""Figures of the cells compared."""


@dataclass(frozen=True)
class Detection(Measure):
    """mAP, and what stays of the float network's detections.

    Attributes:
        head: name of the decoder.
        size: height and width of the network's input.
        annotated: the samples have objects; else the float network's detections are taken for them.
        classes: the network's class of each class of the annotations; empty: the same.
    """

    head: str
    size: tuple[int, int]
    annotated: bool = False
    classes: tuple[int, ...] = ()
    name: str = "detection"
    own: ClassVar[float | None] = 1.0
    names: ClassVar[tuple[str, ...]] = ("map", "map50", "shared", "added", *_ERRORS)
    errors: ClassVar[frozenset[str]] = frozenset({"added", *_ERRORS})

    def cells(self, outputs: Outputs) -> Cells:
        """What the decoder makes of the outputs.

        Raises:
            ModelError: they are not those of this detector.
        """
        arrays = list(outputs.values())
        try:
            return HEADS[self.head](arrays, self.size)
        except (ValueError, IndexError, StopIteration) as error:
            shapes = ", ".join("x".join(map(str, array.shape)) for array in arrays)
            raise ModelError(
                f"outputs of {shapes} are not those of {self.head}: name another decoder as in "
                "--measure detection:yolov8"
            ) from error

    def score(self, outputs: Outputs, sample: Facts) -> Record:
        """(rows, 7): the kind of row, and of a detection or object corners, class, and score or flag."""
        cells = self.cells(outputs)
        boxes = cells.boxes(_LEAST, _OVERLAP, _MOST)
        rows = [_table(_FOUND, boxes)]
        sure = None
        if sample.float_outputs is not None:
            wanted = self.cells(sample.float_outputs)
            sure = wanted.boxes(SURE, _OVERLAP, _MOST)
            apart = difference(cells, wanted)
            rows.append(_row(_COMPARED, apart.box, apart.classes, apart.score, apart.weight))
            rows.append(_row(_SHARED, matched(sure, boxes.over(SURE)), len(sure), len(boxes.over(SURE))))
        rows.append(self._objects(sample, sure))
        return np.concatenate(rows)

    def finish(self, records: Sequence[Record]) -> Figures:
        """The mAP over overlaps 0.5 to 0.95 and at 0.5; beside float, what stays of its detections."""
        pictures = [_picture(record) for record in records]
        precision = average_precision(pictures, MOST if self.annotated else _MOST)
        found = {"map": float(precision.mean()), "map50": float(precision[0])}
        compared, shared = (_sums(records, kind) for kind in (_COMPARED, _SHARED))
        if compared is not None and shared is not None:
            both, wanted, there = shared[:3]
            found["shared"] = both / wanted if wanted else math.nan
            found["added"] = (there - both) / wanted if wanted else math.nan
            for name, value in zip(_ERRORS, compared[:3], strict=True):
                found[name] = value / compared[3] if compared[3] else math.nan
        return found

    def error(self, records: Sequence[Record]) -> float | None:
        """The square of how far cells are from float's; None where these were not compared."""
        compared = _sums(records, _COMPARED) if records else None
        if compared is None or not compared[3]:
            return None
        return math.fsum(compared[:3] / compared[3]) ** 2

    def loss(self, outputs: Outputs, sample: Facts) -> float:
        """How far this sample's cells are from the float network's; see :func:`difference`."""
        if sample.float_outputs is None:
            raise ModelError("detections are compared with those of the float network: give it")
        return difference(self.cells(outputs), self.cells(sample.float_outputs)).total

    def _objects(self, sample: Facts, sure: Boxes | None) -> Record:
        if not self.annotated:
            return _table(_OBJECT, sure) if sure is not None else np.zeros((0, 7))
        objects = np.zeros((0, 6)) if sample.objects is None else sample.objects
        kinds = objects[:, 4].astype(np.int64)
        if self.classes:
            kinds = np.array([self.classes[kind] for kind in kinds], np.int64)
        kept = kinds >= 0
        flags, first = objects[kept, 5:], np.full((int(kept.sum()), 1), _OBJECT)
        return np.concatenate([first, objects[kept, :4], kinds[kept, None], flags], axis=1).astype(np.float64)


def sure_boxes(record: Record) -> npt.NDArray[np.float32]:
    """Detections of a sample that count as objects: corners in pixels of the input, class, score: (n, 6)."""
    found = record[(record[:, 0] == _FOUND) & (record[:, 6] > SURE), 1:]
    return found.astype(np.float32)


def _sums(records: Sequence[Record], kind: int) -> Record | None:
    """Over all samples, of the rows of a kind, without it; None where there are none."""
    rows = np.concatenate(records)
    own = rows[rows[:, 0] == kind, 1:]
    return np.array([math.fsum(column) for column in own.T]) if len(own) else None


def _table(kind: int, boxes: Boxes) -> Record:
    last = boxes.scores if kind == _FOUND else np.zeros(len(boxes))
    columns = [np.full(len(boxes), kind), *boxes.corners.T, boxes.classes, last]
    return np.stack(columns, axis=1).astype(np.float64)


def _row(kind: int, *values: float) -> Record:
    return np.array([[kind, *values, *[0.0] * (6 - len(values))]], np.float64)


def _picture(record: Record) -> tuple[Boxes, Record]:
    found, objects = record[record[:, 0] == _FOUND], record[record[:, 0] == _OBJECT]
    return Boxes(found[:, 1:5], found[:, 6], found[:, 5].astype(np.int64)), objects[:, 1:]
