"""A result that is of no use is said, with what to try."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from job_helpers import calibrate, samples


@pytest.mark.parametrize(("target", "tried"), [("ort", "--target openvino"), ("openvino", "--float-budget")])
def test_a_result_far_from_float_says_what_to_try(
    model: Path, tmp_path: Path, target: str, tried: str
) -> None:
    data = samples().copy()
    data[0] *= 1e3  # it sets the thresholds, and leaves the others no steps
    np.save(tmp_path / "data.npy", data)
    options = {"samples": 1, "method": "max", "target": target}
    found = calibrate(model, tmp_path / "data.npy", tmp_path / "run", **options)
    assert found.holdout is not None
    assert found.holdout.before.sqnr_db < 15
    (line,) = [line for line in found.warnings if "dB from float" in line]
    assert tried in line
    assert "--float-depthwise keeps 1 layer in float, 24.0% of the multiplications" in line


def test_a_good_result_says_nothing(model: Path, data: Path, tmp_path: Path) -> None:
    assert not calibrate(model, data, tmp_path / "run", samples=8).warnings


def test_too_few_samples_for_the_ranges_are_said(model: Path, tmp_path: Path) -> None:
    data = samples().copy()
    data[8:] *= 20
    np.save(tmp_path / "data.npy", data)
    found = calibrate(model, tmp_path / "data.npy", tmp_path / "run", samples=8, target="openvino")
    (line,) = [line for line in found.warnings if "held-out samples are" in line]
    assert "what 8 samples showed" in line
