"""How far a network's detections are from float's, and what a detection measure makes of it."""

from __future__ import annotations

import numpy as np
import pytest

from distq.errors import ModelError
from distq.search.measures.cells import Cells, difference, divergence
from distq.search.measures.detection import Detection
from distq.search.measures.measure import Facts, figures

BOX = [[10.0, 10.0, 30.0, 30.0], [50.0, 50.0, 90.0, 90.0]]


def cells(*rows: tuple[float, ...], corners: list[list[float]] | None = None, aligned: bool = True) -> Cells:
    return Cells(np.array(corners or BOX), np.array(rows), aligned=aligned)


FLOAT = cells((0.9, 0.1), (0.01, 0.02))


def test_equal_cells_differ_by_nothing() -> None:
    found = difference(FLOAT, FLOAT)
    assert found.total == 0
    assert found.weight == 0.9


def test_what_neither_network_sees_does_not_count() -> None:
    moved = [BOX[0], [0.0, 0.0, 1.0, 1.0]]
    assert difference(cells((0.9, 0.1), (0.02, 0.01), corners=moved), FLOAT).total == 0


def test_a_box_that_moves_costs_what_no_longer_overlaps() -> None:
    moved = [[20.0, 10.0, 40.0, 30.0], BOX[1]]
    found = difference(cells((0.9, 0.1), (0.01, 0.02), corners=moved), FLOAT)
    assert found.box == pytest.approx(0.9 * (1 - 1 / 3))
    assert (found.classes, found.score) == (0, 0)


def test_another_class_costs_by_the_chances_and_not_by_its_number() -> None:
    wide = [cells((0.9, *[0.0] * 78, 0.0), (0.0,) * 80)]
    near = cells((0.0, 0.9, *[0.0] * 78), (0.0,) * 80)
    far = cells((*[0.0] * 79, 0.9), (0.0,) * 80)
    assert difference(near, wide[0]).total == difference(far, wide[0]).total == pytest.approx(0.9)


def test_a_detection_that_comes_or_goes_costs() -> None:
    gone = difference(cells((0.0, 0.1), (0.01, 0.02)), FLOAT)
    come = difference(cells((0.9, 0.1), (0.8, 0.02)), FLOAT)
    assert gone.score == pytest.approx(0.8**2)
    assert come.score == pytest.approx((0.8 - 0.02) ** 2)


def test_outputs_that_are_not_finite_cost_the_whole_cell() -> None:
    broken = cells((np.nan, np.nan), (0.01, 0.02))
    assert difference(broken, FLOAT).total >= 2


def test_divergence_is_between_0_and_1() -> None:
    one, other = np.array([[0.5, 0.0], [0.3, 0.3]]), np.array([[0.0, 0.5], [0.3, 0.3]])
    assert divergence(one, other) == pytest.approx([1, 0])


def test_sorted_detections_are_paired_by_overlap() -> None:
    one = cells((0.9, 0.0), (0.0, 0.8), aligned=False)
    other = cells((0.0, 0.8), (0.9, 0.0), corners=[BOX[1], BOX[0]], aligned=False)
    assert difference(one, other).total == pytest.approx(0)
    lost = cells((0.9, 0.0), corners=[BOX[0]], aligned=False)
    assert difference(lost, one).box == pytest.approx(0.8)


MEASURE = Detection("end-to-end", (100, 100))


def outputs(*rows: tuple[float, ...]) -> dict[str, np.ndarray]:
    return {"found": np.array([rows], np.float32).reshape(1, -1, 6)}


def facts(**values: object) -> Facts:
    return Facts(0, "picture", {}, **values)  # type: ignore[arg-type]


def test_the_float_networks_detections_are_objects_where_none_are_annotated() -> None:
    both = outputs((10, 10, 30, 30, 0.9, 0), (50, 50, 90, 90, 0.8, 1))
    found = figures(MEASURE, [np.asarray(MEASURE.score(both, facts(float_outputs=both)))])
    assert (found["map"], found["shared"], found["added"]) == (pytest.approx(1), 1, 0)
    half = outputs((10, 10, 30, 30, 0.9, 0))
    found = figures(MEASURE, [np.asarray(MEASURE.score(half, facts(float_outputs=both)))])
    assert found["map"] == pytest.approx(0.5)
    assert found["shared"] == 0.5


def test_annotated_objects_go_by_the_networks_classes() -> None:
    measure = Detection("end-to-end", (100, 100), annotated=True, classes=(1, -1))
    objects = np.array([[50, 50, 90, 90, 0, 0], [0, 0, 9, 9, 1, 0]], float)
    record = measure.score(outputs((50, 50, 90, 90, 0.8, 1)), facts(objects=objects))
    assert figures(measure, [np.asarray(record)])["map"] == pytest.approx(1)


def test_outputs_of_another_detector_are_told() -> None:
    with pytest.raises(ModelError, match=r"outputs of 1x10 are not those of yolov8"):
        Detection("yolov8", (100, 100)).cells({"scores": np.zeros((1, 10))})
