"""Boxes of text on the probability map of a DBNet: how many the float network's map has as well."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import cv2
import numpy as np
import numpy.typing as npt

from distq.errors import ModelError, UsageError
from distq.search.measures.boxes import Boxes, matched
from distq.search.measures.measure import Facts, Figures, Measure, Outputs, Record

TEXT = 0.3
"""Probability from which a pixel is text (PaddleOCR's det_db_thresh)."""

SURE = 0.6
"""Mean probability of a region that is a box (PaddleOCR's det_db_box_thresh)."""

_UNCLIP = 1.5
"""How far a box grows, as a region is text shrunk: area x this / perimeter (det_db_unclip_ratio)."""

_SMALLEST = 3
"""Pixels of the shorter side of a region that counts (PaddleOCR's min_size)."""

_SEEN = 0.05
"""A pixel is compared where one of the two maps gives it this probability: most show no text."""


@dataclass(frozen=True)
class TextBoxes(Measure):
    """Boxes shared with the float network; the map is the first output."""

    name: str = "text-boxes"
    needs_float: ClassVar[bool] = True
    own: ClassVar[float | None] = 1.0
    names: ClassVar[tuple[str, ...]] = ("shared", "added")
    errors: ClassVar[frozenset[str]] = frozenset({"added"})

    def score(self, outputs: Outputs, sample: Facts) -> Record:
        """Boxes that both networks have, those of float, and those of this network."""
        found, wanted = boxes_of(_map(outputs)), boxes_of(_wanted(sample))
        return np.array([matched(wanted, found), len(wanted), len(found)], np.float64)

    def finish(self, records: Sequence[Record]) -> Figures:
        """Float's boxes that are there too, overlap from 0.5 on, and new ones; shares of float's."""
        if not records:
            return {"shared": math.nan}
        both, wanted, found = np.sum(records, axis=0)
        if not wanted:
            return {"shared": math.nan, "added": math.nan}
        return {"shared": float(both / wanted), "added": float((found - both) / wanted)}

    def loss(self, outputs: Outputs, sample: Facts) -> float:
        """1 - sum of the lesser over sum of the larger probability, over pixels that one takes for text."""
        found, wanted = _map(outputs), _wanted(sample)
        if not np.isfinite(found).all():
            return 1.0
        larger = np.maximum(found, wanted)
        seen = larger >= _SEEN
        if not seen.any():
            return 0.0
        return 1 - float(np.minimum(found, wanted)[seen].sum() / larger[seen].sum())


def recognise_map(outputs: Sequence[npt.NDArray[Any]], asked: str) -> TextBoxes:
    """The measure of a network, after a look at its outputs on one sample.

    Raises:
        UsageError: the first is no probability map, or something is named behind the measure.
    """
    if asked:
        raise UsageError(f"--measure text-boxes:{asked}: nothing follows text-boxes")
    first = outputs[0]
    if map_of(first) is None or first.min() < -0.01 or first.max() > 1.01:
        shape = "x".join(map(str, first.shape))
        raise UsageError(
            f"--measure text-boxes: the first output, {shape}, is no map of probabilities 1 x 1 x height x "
            "width: give a Python file"
        )
    return TextBoxes()


def map_of(output: npt.NDArray[Any]) -> npt.NDArray[np.float32] | None:
    """The map, (height, width); None where the output is not one."""
    if output.ndim != 4 or output.shape[0] != 1 or output.shape[1] < 1 or not output.size:
        return None
    return np.ascontiguousarray(output[0, 0], np.float32)


def boxes_of(found: npt.NDArray[np.float32]) -> Boxes:
    """Upright boxes around connected regions of text, in pixels of the map.

    Source: M. Liao et al., Real-time scene text detection with differentiable binarization, AAAI 2020, and
    PaddleOCR's db_postprocess.py, whose boxes are turned as the text is.
    """
    text = (np.nan_to_num(found) > TEXT).astype(np.uint8)
    count, labels, statistics, _ = cv2.connectedComponentsWithStats(text, connectivity=8)
    areas = np.bincount(labels.ravel(), minlength=count)
    scores = np.bincount(labels.ravel(), np.nan_to_num(found).ravel(), minlength=count) / np.maximum(areas, 1)
    left, top, width, height = statistics[:, :4].T.astype(np.float64)
    kept = (np.minimum(width, height) >= _SMALLEST) & (scores > SURE)
    kept[0] = False  # what is not text
    grown = width * height * _UNCLIP / (2 * (width + height))
    corners = np.stack([left - grown, top - grown, left + width + grown, top + height + grown], axis=1)
    return Boxes(corners[kept], scores[kept], np.zeros(int(kept.sum()), np.int64))


def _map(outputs: Outputs) -> npt.NDArray[np.float32]:
    found = map_of(next(iter(outputs.values())))
    if found is None:
        raise ModelError("the first output is no longer a map, as text-boxes needs it")
    return found


def _wanted(sample: Facts) -> npt.NDArray[np.float32]:
    if sample.float_outputs is None:
        raise ModelError("boxes of text are compared with those of the float network: give it")
    return _map(sample.float_outputs)
