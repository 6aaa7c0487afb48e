"""Jobs whose data and preprocessing come from the data layer of a Caffe network."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from caffe_networks import caffemodel
from job_helpers import calibrate, write_photos

import distq
from distq.data.build import BuildOptions, build_lmdb
from distq.engine.progress import SilentReporter
from distq.run.results import RunResult

NET = """
layer {
  name: "data" type: "Data" top: "data" top: "label" include { phase: TEST }
  transform_param { mirror: true scale: 0.0078125 mean_value: 104 mean_value: 117 mean_value: 123 }
  data_param { source: "photos_lmdb" batch_size: 4 backend: LMDB }
}
layer { name: "conv" type: "Convolution" bottom: "data" top: "conv" }
"""

STEPS = """
inputs:
  "*":
    steps: [{color: bgr}, {mean: [104, 117, 123]}, {scale: 0.0078125}]
"""


REAL = Path(__file__).parents[2].parent / "shared" / "data"

SQUEEZENET = """
layer {
  name: "data" type: "Data" top: "data" top: "label" include { phase: TEST }
  transform_param { crop_size: 227 mean_value: 104 mean_value: 117 mean_value: 123 }
  data_param { source: "imagenet_lmdb" batch_size: 10 backend: LMDB }
}
"""


class Listener(SilentReporter):
    def __init__(self):
        self.warnings: list[str] = []

    def warn(self, text: str) -> None:
        self.warnings.append(text)


@pytest.fixture
def folder(tmp_path):
    write_photos(tmp_path / "photos", 6)
    (tmp_path / "list.txt").write_text("".join(f"{number}.png {number}\n" for number in range(6)))
    build_lmdb(tmp_path / "photos", tmp_path / "list.txt", tmp_path / "photos_lmdb")
    (tmp_path / "net.prototxt").write_text(NET)
    (tmp_path / "p.yaml").write_text(STEPS)
    return tmp_path


def thresholds(run: RunResult) -> bytes:
    return (run.out / "thresholds.json").read_bytes()


def test_a_data_layer_means_what_data_and_preprocess_would(folder, model):
    net, listener = folder / "net.prototxt", Listener()
    run = calibrate(model, net, folder / "run", reporter=listener)
    same = calibrate(model, folder / "photos_lmdb", folder / "same", preprocess=folder / "p.yaml")
    assert thresholds(run) == thresholds(same)
    assert any("mirror is left out" in text for text in listener.warnings)
    record = json.loads((run.out / "run.json").read_text())
    assert record["preprocessing"]["inputs"]["*"]["steps"][0] == {"color": "bgr"}
    assert record["data"]["source"] == str(folder / "photos_lmdb")


def test_preprocess_alone_may_be_a_prototxt(folder, model):
    one = calibrate(model, folder / "photos", folder / "one", preprocess=folder / "net.prototxt")
    other = calibrate(model, folder / "photos", folder / "other", preprocess=folder / "p.yaml")
    assert thresholds(one) == thresholds(other)


def test_eval_takes_the_labels_of_the_database(folder, model):
    result = distq.evaluate(model, data=folder / "net.prototxt", executor="local")
    assert result.images == 6
    assert result.candidate is not None


def test_a_caffe_network_with_a_data_layer_is_enough(folder):
    """The size of its input is that of the records, the label layers are not part of it."""
    convolution = """
      convolution_param { num_output: 5 kernel_size: 8 } }
    layer { name: "loss" type: "SoftmaxWithLoss" bottom: "conv" bottom: "label" top: "loss" }
    """
    net = folder / "net.prototxt"
    net.write_text(NET.rstrip().removesuffix("}") + convolution)
    weights = caffemodel({"conv": [(5, 3, 8, 8), (5,)]})
    net.with_suffix(".caffemodel").write_bytes(weights)
    run = distq.calibrate(model=net, out=folder / "run", executor="local", samples=4)
    record = json.loads((run.out / "run.json").read_text())
    assert record["data"]["source"] == str(folder / "photos_lmdb")
    assert any("mirror is left out" in text for text in record["warnings"])
    assert run.holdout is not None
    assert run.holdout.images == 2
    tuned = distq.tune(model=net, out=folder / "tuned", executor="local", samples=4, effort=1)
    assert tuned.holdout is not None
    found = distq.evaluate(run.out / "model.int8.onnx", against=net, executor="local")
    assert found.images == 6


@pytest.mark.real
def test_squeezenet_is_calibrated_from_its_prototxt_alone(tmp_path):
    if not REAL.is_dir():
        pytest.skip(f"{REAL} is missing")
    lines = (REAL / "imagenet1k" / "labels.txt").read_text().splitlines(keepends=True)
    (tmp_path / "list.txt").write_text("".join(lines[:24]))
    options = BuildOptions(resize_width=256, resize_height=256)
    build_lmdb(REAL / "imagenet1k", tmp_path / "list.txt", tmp_path / "imagenet_lmdb", options)
    deploy = (REAL / "caffe" / "squeezenet_v1.0_deploy.prototxt").read_text()
    (tmp_path / "net.prototxt").write_text(SQUEEZENET + deploy[deploy.index("layer") :])
    weights = REAL / "caffe" / "squeezenet_v1.0.caffemodel"
    settings = {"samples": 8, "method": "max", "rounding": "nearest", "executor": "local"}
    run = distq.calibrate(model=tmp_path / "net.prototxt", weights=weights, out=tmp_path / "run", **settings)
    assert run.holdout is not None
    assert run.holdout.images == 16
    assert run.holdout.before.sqnr_db > 15
    assert run.holdout.float is not None
    assert run.holdout.float.top5 > 0.7
