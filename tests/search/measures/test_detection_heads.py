"""Outputs of known detectors: each decoder gives the box that was put in, and outputs tell which it is."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from distq.search.measures.grids import cell_count, grid
from distq.search.measures.heads import ANCHORS, HEADS
from distq.search.measures.recognise import recognise

SIZE = 96, 64  # height, width
BOX = np.array([12.0, 20.0, 44.0, 84.0])
CLASSES, KIND, SURE = 6, 3, 0.9
STRIDES = 8, 16, 32
COLUMN, ROW, STRIDE = 3, 6, 8  # the middle of the box is at (28, 52)

Outputs = list[npt.NDArray[Any]]


def logit(chance: float) -> float:
    return float(np.log(chance / (1 - chance)))


def place(strides: Sequence[int] = STRIDES) -> int:
    """Where the cell is among all."""
    cells = grid(SIZE, strides)
    return int(np.flatnonzero((cells == (COLUMN, ROW, STRIDE)).all(axis=1))[0])


def scores(low: float, high: float) -> npt.NDArray[np.float64]:
    values = np.full(CLASSES, float(low))
    values[KIND] = high
    return values


def centre() -> npt.NDArray[np.float64]:
    return (BOX[:2] + BOX[2:]) / 2


def sides() -> npt.NDArray[np.float64]:
    return BOX[2:] - BOX[:2]


def maps(xy: npt.NDArray[np.float64], wh: npt.NDArray[np.float64], *, flat: bool) -> Outputs:
    """Maps of three anchors a cell; the box is in the second anchor of the finest map."""
    made = []
    for stride in STRIDES:
        shape = (1, 3, SIZE[0] // stride, SIZE[1] // stride, 5 + CLASSES)
        found = np.full(shape, -20.0, np.float32)
        if stride == STRIDE:
            found[0, 1, ROW, COLUMN] = [*xy, *wh, 20, *scores(-20, logit(SURE))]
        made.append(found.transpose(0, 1, 4, 2, 3).reshape(1, -1, *shape[2:4]) if flat else found)
    return made


def yolov3() -> Outputs:
    offset = centre() / STRIDE - (COLUMN, ROW)
    xy = np.array([logit(float(o)) for o in offset])
    return maps(xy, np.log(sides() / ANCHORS[0][1]), flat=True)


def yolov5() -> Outputs:
    offset = (centre() / STRIDE - (COLUMN, ROW) + 0.5) / 2
    xy = np.array([logit(float(o)) for o in offset])
    wh = np.array([logit(float(o)) for o in np.sqrt(sides() / ANCHORS[0][1]) / 2 * 0.999])
    return maps(xy, wh, flat=False)


def rows(values: Sequence[float], count: int, position: int, dead: float = 0.0) -> npt.NDArray[np.float32]:
    found = np.full((1, count, len(values)), dead, np.float32)
    found[0, position] = values
    return found


def yolov5_decoded() -> Outputs:
    return [rows([*centre(), *sides(), 1, *scores(0, SURE)], 3 * cell_count(SIZE, STRIDES), 7)]


def yolox() -> Outputs:
    xy = centre() / STRIDE - (COLUMN, ROW)
    wh = np.log(sides() / STRIDE)
    return [rows([*xy, *wh, 1, *scores(0, SURE)], cell_count(SIZE, STRIDES), place())]


def yolox_decoded() -> Outputs:
    found = rows([*centre(), *sides(), 1, *scores(0, SURE)], cell_count(SIZE, STRIDES), place())
    found[0, :, 2:4] = np.maximum(found[0, :, 2:4], 9)
    return [found]


def yolov8() -> Outputs:
    found = rows([*centre(), *sides(), *scores(0, SURE)], cell_count(SIZE, STRIDES), 5)
    return [found.swapaxes(1, 2)]


def binned(offset: float, bins: int) -> npt.NDArray[np.float64]:
    """Bins whose softmax has the distances to the sides of the box as its mean."""
    middle = (np.array([COLUMN, ROW]) + offset) * STRIDE
    distances = np.concatenate([middle - BOX[:2], BOX[2:] - middle]) / STRIDE
    found = np.full((4, bins), -1000.0)
    for side, distance in enumerate(distances):
        below = int(distance)
        part = distance - below
        found[side, below] = np.log(max(1 - part, 1e-9))
        found[side, min(below + 1, bins - 1)] = np.log(max(part, 1e-9))
    return found.ravel()


def yolov8_maps() -> Outputs:
    made = []
    for stride in STRIDES:
        found = np.full((1, 64 + CLASSES, SIZE[0] // stride, SIZE[1] // stride), -20.0, np.float32)
        if stride == STRIDE:
            found[0, :, ROW, COLUMN] = [*binned(0.5, 16), *scores(-20, logit(SURE))]
        made.append(found)
    return made


def nanodet() -> Outputs:
    values = [*scores(0, SURE), *binned(0.5, 8)]
    return [rows(values, cell_count(SIZE, STRIDES), place())]


def nanodet_plus() -> Outputs:
    strides = (*STRIDES, 64)
    values = [*scores(0, SURE), *binned(0.0, 8)]
    return [rows(values, cell_count(SIZE, strides), place(strides))]


def parts() -> npt.NDArray[np.float64]:
    return BOX / np.tile(SIZE[::-1], 2)


def ssd() -> Outputs:
    chances = np.zeros((1, 30, CLASSES + 1), np.float32)
    chances[..., 0] = 1
    chances[0, 4] = [1 - SURE, *scores(0, SURE)]
    return [chances, rows(parts().tolist(), 30, 4)]


def ssd_with_priors() -> Outputs:
    prior = np.tile([0.1, 0.1, 0.5, 0.9], (30, 1))
    variance = np.tile([0.1, 0.1, 0.2, 0.2], (30, 1))
    wanted = parts()
    middle, size = (wanted[:2] + wanted[2:]) / 2, wanted[2:] - wanted[:2]
    moved = [*((middle - (0.3, 0.5)) / (0.4, 0.8) / 0.1), *(np.log(size / (0.4, 0.8)) / 0.2)]
    scored = np.full((30, CLASSES + 1), -30.0)
    scored[:, 0] = 30
    scored[2] = [np.log(1 - SURE), *scores(-60, float(np.log(SURE)))]
    location = rows(moved, 30, 2).reshape(1, -1)
    return [location, scored.reshape(1, -1), np.stack([prior.ravel(), variance.ravel()])[np.newaxis]]


def detr() -> Outputs:
    wanted = parts()
    middle, size = (wanted[:2] + wanted[2:]) / 2, wanted[2:] - wanted[:2]
    logits = rows([*scores(-20, logit(SURE))], 30, 4, dead=-20)
    boxes = rows([*middle, *size], 30, 4, dead=0.1)
    boxes[0, 5:, 2:] = 0.05
    return [boxes, logits]


def end_to_end() -> Outputs:
    return [rows([*BOX, SURE, KIND], 50, 0)]


def detection_output() -> Outputs:
    """Caffe counts classes from 1: 0 is the background."""
    return [rows([0, KIND + 1, SURE, *parts()], 50, 0, dead=-1)[np.newaxis]]


def before_suppression() -> Outputs:
    scores = np.zeros((1, CLASSES, 50), np.float32)
    scores[0, KIND, 7] = SURE
    boxes = np.tile(np.array(parts(), np.float32), (1, 50, 1))
    return [boxes, scores]


def before_suppression_with_background() -> Outputs:
    boxes, scores = before_suppression()
    return [boxes, np.concatenate([1 - scores.sum(axis=1, keepdims=True), scores], axis=1)]


def before_suppression_in_pixels() -> Outputs:
    (left, top, right, bottom), scores = BOX, before_suppression()[1]
    centred = [(left + right) / 2, (top + bottom) / 2, right - left, bottom - top]
    boxes = np.tile(np.array([50, 80, 8, 8], np.float32), (1, 50, 1))
    boxes[0, 7] = centred
    return [boxes, scores]


CASES = [
    ("yolov3", yolov3),
    ("yolov5", yolov5),
    ("yolov5", yolov5_decoded),
    ("yolox", yolox),
    ("yolox-decoded", yolox_decoded),
    ("yolov8", yolov8),
    ("yolov8", yolov8_maps),
    ("nanodet", nanodet),
    ("nanodet", nanodet_plus),
    ("ssd", ssd),
    ("ssd", ssd_with_priors),
    ("detr", detr),
    ("end-to-end", end_to_end),
    ("end-to-end", detection_output),
    ("nms", before_suppression),
    ("nms", before_suppression_in_pixels),
    ("nms", before_suppression_with_background),
]


@pytest.mark.parametrize(("name", "made"), CASES, ids=[made.__name__ for _, made in CASES])
def test_the_box_that_was_put_in_comes_out(name: str, made: Any) -> None:
    found = HEADS[name](made(), SIZE).boxes(0.5, 0.5, 10)
    assert len(found) == 1
    assert np.abs(found.corners[0] - BOX).max() < 0.2
    assert found.scores[0] == pytest.approx(SURE, abs=0.01)
    assert found.classes[0] == KIND


@pytest.mark.parametrize(("name", "made"), CASES, ids=[made.__name__ for _, made in CASES])
def test_outputs_tell_which_detector_it_is(name: str, made: Any) -> None:
    assert recognise(made(), SIZE) == name


def test_outputs_of_a_classifier_are_no_detections() -> None:
    assert recognise([np.zeros((1, 1000))], SIZE) is None
    assert recognise([np.zeros((1, 10, 4, 4))], SIZE) is None
