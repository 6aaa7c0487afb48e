"""Boxes of a detector lie on the picture where the network saw them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from distq.data.objects import move
from distq.data.preprocess import load_preprocessing
from distq.reports.detections import boxes_drawn
from distq.reports.places import on_picture

STEPS = {
    "letterboxed": "- resize: {height: 64, width: 96, letterbox: center, pad: 114}",
    "cropped": "- resize: {shorter_side: 48}\n      - center_crop: {height: 32, width: 40}",
    "turned": "- flip: horizontal\n      - resize: {height: 30, width: 20}",
}


@pytest.mark.parametrize("name", STEPS)
def test_a_box_of_the_picture_comes_back_to_its_place(name: str, tmp_path: Path) -> None:
    (tmp_path / "p.yaml").write_text(
        f'inputs:\n  "*":\n    steps:\n      {STEPS[name]}\n      - color: rgb\n'
    )
    preprocessing = load_preprocessing(tmp_path / "p.yaml")
    size = (60, 100)
    box = np.array([[40.0, 25.0, 62.0, 36.0]])
    moved, (height, width) = move(preprocessing.inputs["*"].steps, box, size)
    corners = moved / np.array([width, height, width, height])
    found = on_picture(np.concatenate([corners, [[3.0, 0.9]]], axis=1), preprocessing.describe(), size)
    assert found is not None
    expected = [0.4, 25 / 60, 0.62, 0.6, 3, 0.9]
    np.testing.assert_allclose(found, [expected], atol=1e-9)


def test_nothing_is_drawn_where_a_place_cannot_be_told() -> None:
    one = np.array([[0.1, 0.1, 0.2, 0.2, 0, 1.0]])
    assert on_picture(one, {"plugin": "p.py", "sha256": ""}, (9, 9)) is None
    assert on_picture(one, {"default": "as it is"}, None) is None
    np.testing.assert_allclose(on_picture(one, {"default": "as it is"}, (9, 9)), one)


def test_both_networks_boxes_are_drawn_with_class_and_score() -> None:
    boxes = {"after": np.array([[0.25, 0.5, 0.75, 1.0, 7, 0.875]]), "float": np.array([[0, 0, 1, 1, 7, 0.5]])}
    drawn = boxes_drawn(boxes, (100, 200))
    assert drawn.index('class="float"') < drawn.index('class="int8"')  # the thin ones lie above
    assert 'x="80.0" y="80.0" width="160.0" height="80.0"' in drawn
    assert "INT8: class 7, 0.88" in drawn
