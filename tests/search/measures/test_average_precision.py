"""Average precision of boxes is pycocotools' own; its figures below are those of pycocotools 2.0.11."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest

from distq.search.measures.average_precision import average_precision
from distq.search.measures.boxes import Boxes

Pictures = list[tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]]

GOLDEN = {
    (1, False): [
        *(0.21811229442272, 0.208003300330033, 0.169118340405469, 0.143464621187393, 0.114861760901365),
        *(0.096397139713971, 0.076732673267327, 0.047029702970297, 0.013201320132013, 0.0),
    ],
    (2, True): [
        *(0.34475483262612, 0.305598774163131, 0.305598774163131, 0.288378123526638, 0.250660066006601),
        *(0.247194719471947, 0.137518751875188, 0.051980198019802, 0.0, 0.0),
    ],
    (3, True): [
        *(0.231409207650088, 0.226698736602984, 0.158993936927042, 0.099190316497087, 0.099190316497087),
        *(0.071762216544235, 0.008518709013759, 0.001302761855133, 0.0, 0.0),
    ],
    (4, True): [
        *(0.273444844484448, 0.270337088056632, 0.239968371837184, 0.194125771272779, 0.151451601204076),
        *(0.151451601204076, 0.08030682189098, 0.035643564356436, 0.027227722772277, 0.0),
    ],
}
"""``precision`` of COCOeval at each overlap, averaged over recalls and classes, of :func:`pictures`."""


def pictures(seed: int, *, crowds: bool) -> Pictures:
    """Detections (n, 6) with corners, score and class, and objects (m, 6), of twelve pictures."""
    rng = np.random.default_rng(seed)
    made = []
    for _ in range(12):
        objects, guesses = int(rng.integers(0, 7)), int(rng.integers(0, 15))
        places, sides = rng.integers(0, 80, (objects, 2)), rng.integers(5, 60, (objects, 2))
        kinds, flags = rng.integers(0, 4, (objects, 1)), (rng.random((objects, 1)) < 0.2) * 2 * crowds
        truth = np.concatenate([places, places + sides, kinds, flags], axis=1).astype(float)
        found = []
        for _ in range(guesses):
            if objects and rng.random() < 0.7:
                one = truth[rng.integers(objects)]
                corners = one[:4] + rng.integers(-6, 7, 4)
                kind = one[4] if rng.random() < 0.85 else rng.integers(0, 4)
            else:
                place = rng.integers(0, 80, 2)
                corners = np.concatenate([place, place + rng.integers(5, 60, 2)]).astype(float)
                kind = rng.integers(0, 4)
            if corners[2] > corners[0] and corners[3] > corners[1]:
                found.append([*corners, int(rng.integers(1, 40)) / 40, kind])
        made.append((np.array(found, float).reshape(-1, 6), truth))
    return made


def boxes(rows: npt.NDArray[np.float64]) -> Boxes:
    rows = rows[np.argsort(-rows[:, 4], kind="stable")]
    return Boxes(rows[:, :4], rows[:, 4], rows[:, 5].astype(np.int64))


@pytest.mark.parametrize(("seed", "crowds"), GOLDEN)
def test_it_is_that_of_pycocotools(seed: int, crowds: bool) -> None:
    given = [(boxes(found), truth) for found, truth in pictures(seed, crowds=crowds)]
    assert average_precision(given) == pytest.approx(GOLDEN[seed, crowds], abs=1e-14)


def test_every_object_found_and_nothing_else_is_one() -> None:
    _, truth = pictures(1, crowds=False)[1]
    exact = np.concatenate([truth[:, :4], np.full((len(truth), 1), 0.9), truth[:, 4:5]], axis=1)
    assert average_precision([(boxes(exact), truth)]) == pytest.approx(np.ones(10))


def test_a_difficult_object_neither_helps_nor_harms() -> None:
    truth = np.array([[0, 0, 10, 10, 0, 0], [20, 20, 40, 40, 0, 1]], float)
    one = np.array([[0, 0, 10, 10, 0.5, 0]])
    both = np.array([[20, 20, 40, 40, 0.9, 0], [0, 0, 10, 10, 0.5, 0]])
    for found in (one, both):
        assert average_precision([(boxes(found), truth)]) == pytest.approx(np.ones(10))


def test_without_objects_there_is_nothing_to_say() -> None:
    assert np.isnan(average_precision([(boxes(np.zeros((0, 6))), np.zeros((0, 6)))])).all()


def test_no_more_detections_of_a_class_count_than_coco_counts() -> None:
    truth = np.array([[0, 0, 10, 10, 0, 0]], float)
    wrong = np.tile([50, 50, 60, 60, 0.9, 0], (100, 1))
    found = boxes(np.concatenate([wrong, [[0, 0, 10, 10, 0.5, 0]]]))
    assert average_precision([(found, truth)]).max() == 0
    assert average_precision([(found, truth)], most=101).min() > 0
