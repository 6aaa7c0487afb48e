"""``--measure detection`` and ``--diff detection`` on a small detector, with and without annotations."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from data_helpers import annotated_datum, raw_datum, write_lmdb
from job_helpers import Graph, write_model

import distq
from distq.engine.progress import SilentReporter
from distq.errors import UsageError
from distq.reports.read import read_run
from distq.run.results import EvaluateResult, RunResult

SIDE, CLASSES, PHOTOS = 32, 2, 16
STRIDES = 8, 16, 32


class Lines(SilentReporter):
    def __init__(self) -> None:
        self.lines: list[str] = []
        self.warnings: list[str] = []

    def line(self, text: str) -> None:
        self.lines.append(text)

    def warn(self, text: str) -> None:
        self.warnings.append(text)


def detector(least: float = 0.0) -> Graph:
    """Outputs as YOLOv8 exports them, (1, 4 + classes, cells); ``least`` moves the scores."""
    graph = Graph(2)
    maps = []
    for stride in STRIDES:
        weight = graph.constant(graph.rng.standard_normal((4 + CLASSES, 3, stride, stride)) * 0.01 / stride)
        bias = graph.constant([0.0] * 4 + [least] * CLASSES)
        graph.add("Conv", ["x", weight, bias], f"map{stride}", strides=[stride] * 2)
        shape = graph.constant([0.0])
        graph.constants[-1].CopyFrom(_whole_numbers(shape, [1, 4 + CLASSES, (SIDE // stride) ** 2]))
        maps.append(graph.add("Reshape", [f"map{stride}", shape], f"flat{stride}"))
    graph.add("Concat", maps, "raw", axis=2)
    graph.add("Sigmoid", ["raw"], "parts")
    scale = graph.constant(np.array([SIDE] * 2 + [SIDE / 2] * 2 + [1.0] * CLASSES).reshape(1, -1, 1))
    graph.add("Mul", ["parts", scale], "found")
    return graph


def _whole_numbers(name: str, values: list[int]) -> Any:
    from onnx import numpy_helper  # noqa: PLC0415  # of this alone

    return numpy_helper.from_array(np.array(values, np.int64), name)


def write_detector(path: Path, least: float = 0.0) -> Path:
    cells = sum((SIDE // stride) ** 2 for stride in STRIDES)
    shapes = {"found": (1, 4 + CLASSES, cells)}
    return write_model(path, detector(least).model(shapes, {"x": (1, 3, SIDE, SIDE)}))


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A detector, its INT8 form, photos and annotations."""
    folder = tmp_path_factory.mktemp("detector")
    write_detector(folder / "model.onnx")
    (folder / "photos").mkdir()
    rng = np.random.default_rng(0)
    images, annotations = [], []
    for number in range(PHOTOS):
        photo = rng.integers(0, 256, (SIDE * 2, SIDE, 3)).astype(np.uint8)
        cv2.imwrite(str(folder / "photos" / f"{number:02}.png"), photo)
        images.append({"id": number, "file_name": f"{number:02}.png", "width": SIDE, "height": 2 * SIDE})
        box = {"image_id": number, "category_id": 1 + number % 2, "bbox": [8, 16, 16, 32]}
        annotations.append(box)
    content = {
        "images": images,
        "annotations": annotations,
        "categories": [{"id": 1, "name": "a"}, {"id": 2, "name": "b"}],
    }
    (folder / "coco.json").write_text(json.dumps(content))
    (folder / "p.yaml").write_text(
        f"inputs: {{'*': {{steps: [{{resize: {{height: {SIDE}, width: {SIDE}}}}}, {{color: rgb}}]}}}}"
    )
    distq.calibrate(
        model=folder / "model.onnx",
        data=folder / "photos",
        preprocess=folder / "p.yaml",
        out=folder / "run",
        samples=8,
        measure="detection",
        executor="local",
    )
    return folder


def evaluate(place: Path, reporter: SilentReporter | None = None, **options: Any) -> EvaluateResult:
    given = {
        "against": place / "model.onnx",
        "data": place / "photos",
        "preprocess": place / "p.yaml",
        "measure": "detection",
        **options,
    }
    return distq.evaluate(
        place / "run" / "model.int8.onnx",
        executor="local",
        reporter=reporter,
        **given,
    )


def test_without_annotations_float_is_the_truth(place: Path) -> None:
    told = Lines()
    (figures,) = evaluate(place, told).measures
    assert any("recognised as yolov8, 21 rows, 2 classes" in line for line in told.lines)
    assert figures.against is None
    assert 0.5 < figures.candidate["shared"] <= 1
    assert 0 < figures.candidate["box_error"] < 0.5
    assert 0 < figures.candidate["map"] <= 1


def test_a_network_shares_all_detections_with_itself(place: Path) -> None:
    (figures,) = evaluate(place, against=place / "run" / "model.int8.onnx").measures
    assert figures.candidate["map"] == pytest.approx(1)
    assert figures.candidate["shared"] == 1
    assert figures.candidate["box_error"] == figures.candidate["score_error"] == 0


def test_with_annotations_both_networks_have_an_map(place: Path) -> None:
    found = [evaluate(place, annotations=place / "coco.json", shard_size=size).measures[0] for size in (3, 8)]
    assert found[0] == found[1]
    assert found[0].against is not None
    assert 0 <= found[0].candidate["map"] <= found[0].candidate["map50"] <= 1
    assert found[0].against.keys() == {"map", "map50"}


def test_classes_that_cannot_be_told_apart_are_refused(place: Path, tmp_path: Path) -> None:
    content = json.loads((place / "coco.json").read_text())
    content["categories"].append({"id": 9, "name": "c"})
    path = tmp_path / "coco.json"
    path.write_text(json.dumps(content))
    with pytest.raises(UsageError, match="have 3 classes, the network 2, and names do not tell"):
        evaluate(place, annotations=path)


def annotated_layer(place: Path, folder: Path, names: str, label: int) -> Path:
    """A prototxt beside an annotated LMDB of the photos, whose label map has these names from 1 on."""
    records = {}
    for number, photo in enumerate(sorted((place / "photos").iterdir())):
        pixels = cv2.imread(str(photo))
        boxes = {label: [(0.25, 0.25, 0.75, 0.75, False)]}
        records[b"%08d" % number] = annotated_datum(raw_datum(pixels, -1), boxes)
    write_lmdb(folder / "db", records)
    items = "".join(f'item {{ name: "{name}" label: {n} }}' for n, name in enumerate(names.split(), 1))
    (folder / "map.prototxt").write_text(items)
    size = f"resize_param {{ height: {SIDE} width: {SIDE} }}"
    path = folder / "data.prototxt"
    path.write_text(
        'layer { name: "data" type: "AnnotatedData" top: "data" data_param { source: "db" } '
        f"transform_param {{ {size} }} "
        'annotated_data_param { batch_sampler { } label_map_file: "map.prototxt" } }'
    )
    return path


def test_the_label_map_of_an_annotated_database_names_its_classes(place: Path, tmp_path: Path) -> None:
    layer = annotated_layer(place, tmp_path, "a b", 2)
    told = Lines()
    (figures,) = evaluate(place, told, data=layer, preprocess=layer).measures
    assert figures.against is not None
    assert figures.against.keys() == {"map", "map50"}
    assert any(line.endswith("boxes are annotated") for line in told.lines)
    (tmp_path / "map.prototxt").write_text('item { name: "a" label: 1 } item { name: "c" label: 3 }')
    with pytest.raises(UsageError, match="the label_map_file of the data layer has 3 classes, the network 2"):
        evaluate(place, data=layer, preprocess=layer)


def test_boxes_of_a_class_that_the_network_lacks_are_refused(place: Path, tmp_path: Path) -> None:
    layer = annotated_layer(place, tmp_path, "a b", 3)
    with pytest.raises(UsageError, match="are of class 3, the network has 2: give annotations"):
        evaluate(place, data=tmp_path / "db", preprocess=layer)


def tune(place: Path, out: Path, reporter: SilentReporter | None = None, **options: Any) -> RunResult:
    given = {"model": place / "model.onnx", "samples": 10, "tune_samples": 8, "effort": 5, **options}
    return distq.tune(
        data=place / "photos",
        preprocess=place / "p.yaml",
        out=out,
        executor="local",
        diff="detection",
        reporter=reporter,
        **given,
    )


def test_a_search_lowers_what_becomes_of_detections(place: Path, tmp_path: Path) -> None:
    told = Lines()
    run = tune(place, tmp_path / "run", told)
    assert run.holdout is not None
    (figures,) = run.holdout.measures
    assert figures.measure == "detection"
    assert figures.after is not None
    assert set(figures.before) == set(figures.after) >= {"map", "shared", "box_error"}
    assert not told.warnings


def test_a_goal_in_map_is_met_with_some_layers_in_float(place: Path, tmp_path: Path) -> None:
    """INT8 misses it; the detections of the float network are the truth."""
    found = distq.auto(
        model=place / "model.onnx",
        data=place / "photos",
        preprocess=place / "p.yaml",
        out=tmp_path / "run",
        goal="map:-2",
        samples=8,
        target="openvino",
        method="mse",
        effort=1,
        executor="local",
    ).auto
    assert found is not None
    assert found.measure == "detection points"
    first, answer = found.tried[0].reading, found.answer.reading
    assert first is not None
    assert answer is not None
    assert first < -2 <= answer
    assert 1 <= found.answer.layers < len(STRIDES)
    assert {reason.name for reason in found.reasons} == {*found.answer.float_layers}
    assert all("dB of the outputs" in reason.text for reason in found.reasons)


def test_images_with_nothing_to_detect_are_told(place: Path, tmp_path: Path) -> None:
    nothing = write_detector(tmp_path / "nothing.onnx", least=-30)
    run = tune(place, tmp_path / "run", model=nothing)
    assert any("--diff detection is 0 on all tuning samples" in warning for warning in run.warnings)


def test_the_page_draws_the_boxes_of_both_networks(place: Path, tmp_path: Path) -> None:
    page, run = tmp_path / "page.html", read_run(place / "run", "run")
    distq.report(run.path, out=page)
    html = page.read_text()
    assert run.held_out is not None
    assert run.held_out.boxes.keys() == {"before", "float"}
    assert all(sample.boxes for sample in run.worst)
    drawn = [len(sample.boxes["float"]) for sample in run.worst]
    assert sum(drawn) > 0
    assert html.count('<rect class="float"') == sum(drawn)
    assert html.count('<div class="boxed">') == len(run.worst)
