"""Boxes from annotations, followed through preprocessing to the pixels of a network's input."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import pytest
from data_helpers import annotated_datum, picture, raw_datum, write_lmdb

from distq.data.annotations import CROWD, DIFFICULT, load_annotations
from distq.data.dataset import DatasetSpec
from distq.data.objects import Truth, move
from distq.data.preprocess import InputSteps
from distq.data.samples import InputSpec
from distq.data.steps import parse_step
from distq.errors import DataError, PreprocessError

VOC = """<annotation><filename>a.png</filename><size><width>40</width><height>20</height></size>
<object><name>dog</name><bndbox><xmin>1</xmin><ymin>1</ymin><xmax>20</xmax><ymax>10</ymax></bndbox></object>
<object><name>cat</name><difficult>1</difficult>
<bndbox><xmin>21</xmin><ymin>11</ymin><xmax>40</xmax><ymax>20</ymax></bndbox></object></annotation>"""


def coco(path: Path, boxes: list[dict[str, object]]) -> Path:
    content = {
        "images": [{"id": 7, "file_name": "photos/a.png", "width": 40, "height": 20}],
        "categories": [{"id": 18, "name": "dog"}, {"id": 17, "name": "cat"}],
        "annotations": [{"image_id": 7, **box} for box in boxes],
    }
    path.write_text(json.dumps(content))
    return path


def test_coco(tmp_path: Path) -> None:
    boxes = [
        {"category_id": 18, "bbox": [0, 0, 20, 10]},
        {"category_id": 17, "bbox": [20, 10, 20, 10], "iscrowd": 1},
    ]
    found = load_annotations(coco(tmp_path / "a.json", boxes))
    assert found.classes == ("cat", "dog")  # by id
    assert found.of(["photos/a.png"]).tolist() == [[0, 0, 0.5, 0.5, 1, 0], [0.5, 0.5, 1, 1, 0, CROWD]]


def test_voc(tmp_path: Path) -> None:
    (tmp_path / "a.xml").write_text(VOC)
    found = load_annotations(tmp_path)
    assert found.classes == ("cat", "dog")
    assert found.of(["x/a.png"]).tolist() == [[0, 0, 0.5, 0.5, 1, 0], [0.5, 0.5, 1, 1, 0, DIFFICULT]]


@pytest.mark.parametrize(
    "text", ["", "[]", "{}", '{"images": [{"id": 1}], "categories": [], "annotations": []}']
)
def test_a_file_that_is_no_annotation_is_told(text: str, tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    path.write_text(text)
    with pytest.raises(DataError, match=r"a\.json: not COCO's JSON"):
        load_annotations(path)


def test_xml_with_a_document_type_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.xml").write_text('<!DOCTYPE a [<!ENTITY b "c">]>' + VOC)
    with pytest.raises(DataError, match="declares a document type"):
        load_annotations(tmp_path)


def test_a_picture_without_annotations_is_told(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"has no annotations of b\.png"):
        load_annotations(coco(tmp_path / "a.json", [])).of(["b.png"])


STEPS = [
    [{"resize": {"height": 60, "width": 50}}],
    [{"resize": {"shorter_side": 60}}, {"center_crop": {"height": 50, "width": 90}}],
    [{"resize": {"height": 64, "width": 64, "letterbox": "top_left"}}],
    [{"resize": {"height": 64, "width": 64, "letterbox": "center"}}, {"flip": "horizontal"}],
    [{"resize": {"height": 64, "width": 48, "cover": True}}, {"center_crop": {"height": 64, "width": 48}}],
    [{"center_crop": {"height": 101, "width": 161, "pad": 0}}, {"flip": "both"}],
    [{"resize": {"longer_side": 60, "multiple_of": 8}}, {"pad": {"multiple_of": 50, "place": "center"}}],
    [{"pad": {"height": 100, "width": 130}}, {"flip": "both"}],
    [{"transpose": True}, {"color": "rgb"}, {"scale": 0.5}],
]


@pytest.mark.parametrize("steps", STEPS)
def test_boxes_go_where_the_pixels_go(steps: list[dict[str, object]]) -> None:
    """A white block in a black picture ends where its corners are said to be."""
    picture = np.zeros((80, 120, 3), np.uint8)
    picture[24:56, 36:84] = 255
    made = InputSteps(steps=[parse_step(step) for step in steps])  # type: ignore[arg-type]  # checked there
    corners, size = move(made.steps, np.array([[36.0, 24.0, 84.0, 56.0]]), (80, 120))
    array = made.apply(picture)[0, 0]
    assert array.shape == size
    inside = array > array.max() / 2
    inside[array == 114] = False  # what letterbox pads with
    rows, columns = np.flatnonzero(inside.any(axis=1)), np.flatnonzero(inside.any(axis=0))
    wanted = [columns[0], rows[0], columns[-1] + 1, rows[-1] + 1]
    low, high = np.minimum(corners[0, :2], corners[0, 2:]), np.maximum(corners[0, :2], corners[0, 2:])
    found = np.clip([*low, *high], 0, [*size[::-1], *size[::-1]])
    assert np.abs(found - wanted).max() <= 1


def spec_of(folder: Path, preprocess: Path | None = None, *, code: bool = False) -> DatasetSpec:
    inputs = [InputSpec("x", (1, 3, 20, 40), "float32")]
    return DatasetSpec.create(folder, inputs, preprocess=preprocess, allow_code=code)


def test_objects_are_in_pixels_of_the_input_and_inside_of_it(tmp_path: Path) -> None:
    photos = tmp_path / "photos"
    photos.mkdir()
    cv2.imwrite(str(photos / "a.png"), np.zeros((40, 80, 3), np.uint8))  # twice as large as annotated
    truth = Truth(str(coco(tmp_path / "a.json", [{"category_id": 18, "bbox": [30, 10, 20, 20]}])))
    preprocess = tmp_path / "p.yaml"
    preprocess.write_text("inputs: {'*': {steps: [{resize: {height: 20, width: 40}}]}}")
    spec = spec_of(photos, preprocess)
    found = truth.objects(spec.open(), 0, spec.inputs[0], (20, 40))
    assert found.tolist() == [[30, 10, 40, 20, 1, 0]]


def test_a_plug_in_may_move_boxes_anywhere(tmp_path: Path) -> None:
    photos = tmp_path / "photos"
    photos.mkdir()
    cv2.imwrite(str(photos / "a.png"), np.zeros((20, 40, 3), np.uint8))
    plugin = tmp_path / "p.py"
    plugin.write_text("def image_preprocess(img_path, norm=True): return None\n")
    truth = Truth(str(coco(tmp_path / "a.json", [{"category_id": 18, "bbox": [0, 0, 20, 20]}])))
    spec = spec_of(photos, plugin, code=True)
    with pytest.raises(PreprocessError, match="its boxes cannot be followed"):
        truth.objects(spec.open(), 0, spec.inputs[0], (20, 40))


def test_an_annotated_database_needs_no_other_annotations(tmp_path: Path) -> None:
    """Its classes count from 1, as 0 is the background there."""
    boxes = {7: [(0, 0.25, 0.5, 1, False)], 1: [(0.5, 0, 1, 0.5, True)]}
    write_lmdb(tmp_path / "db", {b"0": annotated_datum(raw_datum(picture(20, 40), -1), boxes)})
    spec = spec_of(tmp_path / "db")
    found = Truth(None).objects(spec.open(), 0, spec.inputs[0], (20, 40))
    assert found.tolist() == [[0, 5, 20, 20, 6, 0], [20, 0, 40, 10, 0, DIFFICULT]]
