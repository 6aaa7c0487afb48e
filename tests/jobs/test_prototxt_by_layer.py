"""Settings that a Caffe network has in its own prototxt."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from caffe_cases import COMPARED
from caffe_networks import numbers
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


def test_a_layer_without_a_threshold_is_named(place: Path) -> None:
    found = calibrated(place, "run", {"p": "th_scale: 1.5"})
    (warning,) = found.warnings
    assert warning.startswith("p has no threshold of its own")


def test_the_settings_belong_to_the_job(place: Path) -> None:
    calibrated(place, "run", {"c": "threshold: 1.5"})
    assert read_json(place / "run" / "run.json")["job"]["model"]
    with pytest.raises(distq.UsageError, match="its model is"):
        calibrated(place, "run", {"c": "th_scale: 1.5"}, resume=True)
