"""``--resume`` with anything else that decides the result is refused, and what it is named."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import onnx
import pytest
from job_helpers import three_layers, tree, use_watched, write_model, write_photos

import distq
from distq.config import AutoOptions
from distq.errors import InterruptedRun, UsageError
from distq.run.identity import NOT_IDENTITY
from distq.run.results import RunResult

PREPROCESS = 'inputs: {"*": {steps: [{color: rgb}, {scale: 0.01}], layout: nchw}}\n'
PLUGIN = """
import cv2
import numpy as np

def image_preprocess(img_path, norm=True):
    return (cv2.imread(img_path).astype(np.float32) / 64)[None]
"""

OTHER_VALUES: dict[str, Any] = {
    "seed": 1,
    "shuffle": True,
    "samples": 7,
    "holdout": 1,
    "method": "mse",
    "bins": 1024,
    "scheme": "symmetric",
    "target": "openvino",
    "int16_layers": "first",
    "rounding": "nearest",
    "bias_correction": False,
    "tune_samples": 3,
    "strategy": "grid",
    "effort": 2,
    "int16_budget": 1,
    "float_budget": 1,
    "equalize": False,
    "layers": "first",
    "ignore_layers": "first",
    "float_layers": "first",
    "float_inputs": "first",
    "float_outputs": "second",
    "float_blocks": "second",
    "float_depthwise": True,
    "conv_groups": 2,
    "concat": "requantize",
    "per_tensor_weights": True,
    "weight_bits": "7",
    "input_shape": "x=1,3,8,8",
    "quantize_front_end": True,
    "quantize_shares": True,
    "float_if_faster": "never",
    "diff": "cosine",
    "measure": "topk,nmse",
}
"""For every option that is a part of the job and no path, another value than below."""

FILES = (
    *("model", "data", "holdout_data", "preprocess", "input_config"),
    *("labels", "table", "load_dist", "layer_config", "annotations"),
)
"""Options that are paths: the content behind them is a part of the job."""


@pytest.fixture(scope="module")
def begun(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """A folder with everything a job can read, a run in it that was interrupted at once, and its options."""
    place = tmp_path_factory.mktemp("identity")
    write_photos(place / "photos", 12)
    write_photos(place / "others", 12)
    (place / "list.txt").write_text("".join(f"photos/{number}.png {number % 6}\n" for number in range(12)))
    (place / "held.txt").write_text("".join(f"others/{number}.png\n" for number in range(4)))
    (place / "labels.txt").write_text("".join(f"{number}.png {number % 6}\n" for number in range(12)))
    (place / "preprocess.yaml").write_text(PREPROCESS)
    (place / "layers.yaml").write_text("first: {threshold: 3}\n")
    options = {
        "model": write_model(place / "model.onnx", three_layers()),
        "data": place / "list.txt",
        "holdout_data": place / "held.txt",
        "labels": place / "labels.txt",
        "preprocess": place / "preprocess.yaml",
        "layer_config": place / "layers.yaml",
        "executor": "local",
        "samples": 8,
        "tune_samples": 4,
        "holdout": 2,
    }
    calibration = {name: value for name, value in options.items() if name != "tune_samples"}
    given = distq.calibrate(**calibration, out=place / "table").out / "thresholds.json"
    options["table"] = Path(shutil.copy(given, place / "table.json"))  # in its run it may not change
    begin({**options, "out": place / "run"})
    return {**options, "out": place / "run"}


def begin(options: dict[str, Any]) -> None:
    """Start a search that ends before its first unit."""
    with pytest.MonkeyPatch.context() as patch:
        use_watched(patch, [], stop_after=0)
        with pytest.raises(InterruptedRun):
            distq.tune(**options)


def refused(options: dict[str, Any], field: str) -> None:
    """Resuming with these options ends with the field's name and changes nothing."""
    before = tree(options["out"])
    with pytest.raises(
        UsageError, match=rf"holds another job: its {field} is .*; give another --out"
    ) as error:
        distq.tune(**options, resume=True)
    assert error.value.exit_code == 2
    assert tree(options["out"]) == before


@pytest.fixture
def copied(begun: dict[str, Any], tmp_path: Path) -> dict[str, Any]:
    """The same in a copy that a test may change."""
    place = begun["out"].parent
    shutil.copytree(place, tmp_path / "copy")
    return {
        name: tmp_path / "copy" / value.relative_to(place) if isinstance(value, Path) else value
        for name, value in begun.items()
    }


def test_every_option_is_either_a_part_of_the_job_or_not() -> None:
    of_auto = {"goal", "cost", "tries"}
    of_recurrent_models = {"state", "sequence"}  # tests/jobs/test_states.py
    of_openvino = {"channel_scales"}  # tests/jobs/test_channel_scales.py
    of_switches = {"input_value"}  # tests/jobs/test_switched.py
    parts = {*OTHER_VALUES, *FILES, *of_auto, *of_recurrent_models, *of_openvino, *of_switches}
    assert set(AutoOptions.model_fields) == {*NOT_IDENTITY, *parts}


@pytest.mark.parametrize("field", OTHER_VALUES)
def test_another_value(field: str, begun: dict[str, Any]) -> None:
    refused({**begun, field: OTHER_VALUES[field]}, field)


def change_a_weight(path: Path) -> None:
    proto = onnx.load(path)
    data = bytearray(proto.graph.initializer[0].raw_data)
    data[0] ^= 1
    proto.graph.initializer[0].raw_data = bytes(data)
    onnx.save(proto, path)


def change_a_pixel(path: Path) -> None:
    photo = path.parent / ("others" if path.name == "held.txt" else "photos") / "1.png"
    shutil.copyfile(photo.parent / "9.png", photo)


def change_text(old: str, new: str) -> Callable[[Path], None]:
    def change(path: Path) -> None:
        text = path.read_text()
        assert old in text
        path.write_text(text.replace(old, new, 1))

    return change


@pytest.mark.parametrize(
    ("option", "field", "change"),
    [
        ("model", "model", change_a_weight),
        ("data", "data", change_a_pixel),
        ("data", "data", change_text("photos/2.png 2", "photos/10.png 2")),
        ("holdout_data", "holdout", change_a_pixel),
        ("labels", "labels", change_text("3.png 3", "3.png 4")),
        ("preprocess", "preprocess", change_text("0.01", "0.02")),
        ("table", "table", change_text('"bits": 8', '"bits":  8')),
        ("layer_config", "layer_config", change_text("3", "4")),
    ],
)
def test_other_content_behind_the_same_path(
    option: str, field: str, change: Callable[[Path], None], copied: dict[str, Any]
) -> None:
    change(copied[option])
    refused(copied, field)


@pytest.mark.parametrize(
    ("option", "field"),
    [
        ("holdout_data", "holdout"),
        ("labels", "labels"),
        ("preprocess", "preprocess"),
        ("table", "table"),
        ("layer_config", "layer_config"),
    ],
)
def test_a_file_that_is_no_longer_given(option: str, field: str, begun: dict[str, Any]) -> None:
    refused({name: value for name, value in begun.items() if name != option}, field)


def test_another_plug_in(copied: dict[str, Any]) -> None:
    plugin = copied["out"].parent / "plugin.py"
    plugin.write_text(PLUGIN)
    options = {**copied, "preprocess": plugin, "allow_code": True, "out": plugin.parent / "other"}
    begin(options)
    plugin.write_text(PLUGIN.replace("64", "65"))
    refused(options, "preprocess")


def test_another_measure_or_annotation(copied: dict[str, Any]) -> None:
    place = copied["out"].parent
    own, boxes = place / "own.py", place / "boxes"
    own.write_text("def score(outputs, sample): return 1\n")
    boxes.mkdir()
    (boxes / "1.xml").write_text("<annotation/>")
    refused({**copied, "annotations": boxes}, "annotations")
    options = {**copied, "diff": own, "allow_code": True, "out": place / "measured"}
    begin(options)
    own.write_text("def score(outputs, sample): return 2\n")
    refused(options, "diff")


def test_other_external_data_of_the_model(copied: dict[str, Any]) -> None:
    place = copied["out"].parent
    beside = {"save_as_external_data": True, "location": "weights.bin", "size_threshold": 0}
    onnx.save_model(onnx.load(copied["model"]), place / "large.onnx", **beside)
    options = {**copied, "model": place / "large.onnx", "out": place / "large"}
    begin(options)
    weights = bytearray((place / "weights.bin").read_bytes())
    weights[0] ^= 1
    (place / "weights.bin").write_bytes(weights)
    refused(options, "model")


def test_other_distributions(copied: dict[str, Any], tmp_path: Path) -> None:
    own = {name: value for name, value in copied.items() if name != "table"}
    gathered = tmp_path / "dist.npz"
    shutil.copyfile(copied["table"].parent / "table" / "distributions.npz", gathered)
    options = {**own, "load_dist": gathered, "out": tmp_path / "loaded"}
    begin(options)
    data = bytearray(gathered.read_bytes())
    data[len(data) // 2] ^= 1
    gathered.write_bytes(data)
    refused(options, "load_dist")


@pytest.mark.parametrize(
    ("field", "options"),
    [
        ("method", {"method": "max"}),
        ("bins", {"bins": 1024}),
        ("scheme", {"scheme": "symmetric"}),
        ("int16_layers", {"int16_layers": "first"}),
        ("float_layers", {"float_layers": "second"}),
    ],
)
def test_thresholds_from_distributions_alone(
    field: str, options: dict[str, Any], calibrated: RunResult, model: Path, tmp_path: Path
) -> None:
    given = {"model": model, "load_dist": calibrated.out / "distributions.npz", "out": tmp_path / "run"}
    distq.calibrate(**given)
    with pytest.raises(UsageError, match=f"its {field} is"):
        distq.calibrate(**given, **options, resume=True)
