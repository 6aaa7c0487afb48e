"""Boxes of text on probability maps: which there are, which two networks share, and what a search lowers."""

from __future__ import annotations

import numpy as np
import pytest

from distq.errors import UsageError
from distq.search.measures.measure import Facts, Outputs, figures
from distq.search.measures.text_boxes import TextBoxes, boxes_of, map_of, recognise_map

LINE, SIGN = (10, 10, 40, 18), (60, 30, 80, 50)
BOXES = TextBoxes()


def page(*regions: tuple[int, int, int, int], sure: float = 0.9) -> Outputs:
    """A map 64 x 96 with regions left, top, right, bottom of a probability."""
    found = np.full((1, 1, 64, 96), 0.01, np.float32)
    for left, top, right, bottom in regions:
        found[0, 0, top:bottom, left:right] = sure
    return {"map": found}


def against(outputs: Outputs) -> Facts:
    return Facts(0, "0", {}, float_outputs=outputs)


def test_a_region_gives_the_box_that_was_shrunk_to_it() -> None:
    found = map_of(page((10, 10, 40, 20))["map"])
    assert found is not None
    grown = 30 * 10 * 1.5 / 80
    np.testing.assert_allclose(boxes_of(found).corners, [[10 - grown, 10 - grown, 40 + grown, 20 + grown]])


def test_specks_and_doubtful_regions_are_no_boxes() -> None:
    for outputs in (page(), page((10, 10, 40, 12)), page(LINE, sure=0.5)):
        found = map_of(outputs["map"])
        assert found is not None
        assert len(boxes_of(found)) == 0


def test_boxes_that_stay_go_and_come_are_counted_over_all_pages() -> None:
    moved = (12, 10, 42, 18)
    pages = [(page(moved, SIGN), page(LINE)), (page(LINE), page(LINE, SIGN)), (page(), page(SIGN))]
    records = [BOXES.score(found, against(wanted)) for found, wanted in pages]
    assert figures(BOXES, records) == {"shared": 2 / 4, "added": 1 / 4}


def test_pages_without_text_say_nothing() -> None:
    assert np.isnan(figures(BOXES, [BOXES.score(page(), against(page()))])["shared"])


def test_the_search_sees_what_has_not_lost_a_box_yet() -> None:
    wanted = against(page(LINE))
    weaker, gone = BOXES.loss(page(LINE, sure=0.7), wanted), BOXES.loss(page(), wanted)
    assert 0 == BOXES.loss(page(LINE), wanted) < weaker < gone < 1
    assert BOXES.loss(page(), against(page())) == 0
    assert BOXES.loss({"map": np.full((1, 1, 64, 96), np.nan, np.float32)}, wanted) == 1


@pytest.mark.parametrize(
    ("output", "asked", "message"),
    [
        (np.zeros((1, 7)), "", "the first output, 1x7, is no map of probabilities"),
        (np.full((1, 1, 8, 8), 4.0), "", "the first output, 1x1x8x8, is no map of probabilities"),
        (np.zeros((1, 1, 8, 8)), "db", "text-boxes:db: nothing follows text-boxes"),
    ],
)
def test_wrong_use_is_told_in_a_line(output: np.ndarray, asked: str, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        recognise_map([output], asked)
