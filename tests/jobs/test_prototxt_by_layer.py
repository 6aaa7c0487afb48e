"""Settings that a Caffe network has in its own prototxt."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from caffe_cases import COMPARED
from caffe_networks import Case, layer, numbers
from job_helpers import read_json, thresholds

import distq
from distq.run.results import RunResult

IN_PLACE = "c", "bn", "sc", "r"


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """A Convolution with all that follows in its blob, then pooling, and samples."""
    np.save(tmp_path / "x.npy", numbers((12, 4, 7, 6), 3))
    COMPARED["in place"].save(tmp_path)
    return tmp_path


def calibrated(place: Path, out: str, settings: dict[str, str], **options: Any) -> RunResult:
    """Calibrate the network with fields added to its layers."""
    net = place / "net.prototxt"
    text = net.read_text()
    for name, fields in settings.items():
        assert f'name: "{name}"' in text
        text = text.replace(f'name: "{name}" type', f'{fields} name: "{name}" type')
    net.write_text(text)
    return distq.calibrate(
        model=net, data=place / "x.npy", out=place / out, method="max", executor="local", **options
    )


@pytest.mark.parametrize("name", IN_PLACE)
def test_a_threshold_of_any_layer_is_that_of_the_blob_it_writes_last(place: Path, name: str) -> None:
    calibrated(place, "run", {name: "threshold: 0.75"})
    row = thresholds(place / "run")["c"]
    assert (row["threshold"], row["method"]) == (0.75, "fixed")


def test_the_last_layer_of_a_blob_counts(place: Path) -> None:
    calibrated(place, "run", {"c": "th_scale: 3", "bn": "th_strategy: USE_KL", "r": "threshold: 1.5"})
    assert thresholds(place / "run")["c"]["threshold"] == 1.5


def test_a_file_replaces_what_the_prototxt_says_of_a_layer(place: Path) -> None:
    (place / "layers.yaml").write_text(yaml.safe_dump({"r": {"threshold": 2.0}}))
    calibrated(place, "run", {"r": "threshold: 1.5"}, layer_config=place / "layers.yaml")
    assert thresholds(place / "run")["c"]["threshold"] == 2.0


def test_a_layer_stays_float(place: Path) -> None:
    with pytest.raises(distq.UsageError, match="leaves no layer in INT8"):
        calibrated(place, "run", {"bn": "forward_with_float: true"})
    assert not (place / "run").exists()


@pytest.fixture
def with_prelu(tmp_path: Path) -> Path:
    """Three Convolutions, each with a PReLU in its blob: these are layers of their own."""
    np.save(tmp_path / "x.npy", numbers((12, 4, 7, 6), 3))
    layers = "".join(
        layer("Convolution", name, source, convolution_param="num_output: 4 kernel_size: 3 pad: 1")
        + layer("PReLU", f"{name}_act", name, name)
        for name, source in (("c1", "data"), ("c2", "c1"), ("c3", "c2"))
    )
    names = ("c1", "c2", "c3")
    slopes = {f"{name}_act": ((4,),) for name in names}
    Case(layers, blobs={**dict.fromkeys(names, ((4, 4, 3, 3), (4,))), **slopes}).save(tmp_path)
    return tmp_path


def test_a_layer_behind_which_others_change_its_blob_is_meant_itself(with_prelu: Path) -> None:
    calibrated(with_prelu, "run", {"c1": "threshold: 0.75", "c3": "forward_with_float: true"})
    rows = thresholds(with_prelu / "run")
    assert rows["c1_Convolution"]["threshold"] == 0.75
    assert rows["c1"]["method"] == "max"
    kept = {row["name"]: row["reason"] for row in read_json(with_prelu / "run" / "run.json")["float_layers"]}
    assert kept["c3_Convolution"] == "kept in float by c3_Convolution in the prototxt"


def test_in_a_file_beside_the_network_too(with_prelu: Path) -> None:
    net = with_prelu / "net.prototxt"
    text = net.read_text().replace('name: "c1" type', 'threshold: 0.75 name: "c1" type')
    (with_prelu / "settings.prototxt").write_text(text)
    calibrated(with_prelu, "run", {}, layer_config=with_prelu / "settings.prototxt")
    assert thresholds(with_prelu / "run")["c1_Convolution"]["threshold"] == 0.75


def test_a_layer_without_a_threshold_is_named(place: Path) -> None:
    found = calibrated(place, "run", {"p": "th_scale: 1.5"})
    (warning,) = found.warnings
    assert warning.startswith("p has no threshold of its own")


def test_the_settings_belong_to_the_job(place: Path) -> None:
    calibrated(place, "run", {"c": "threshold: 1.5"})
    assert read_json(place / "run" / "run.json")["job"]["model"]
    with pytest.raises(distq.UsageError, match="its model is"):
        calibrated(place, "run", {"c": "th_scale: 1.5"}, resume=True)
