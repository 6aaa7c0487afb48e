"""The journal of a calibration: sums take the place of results, and no bit depends on it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from job_helpers import bits, calibrate, read_json, samples, write_photos

from distq.errors import InterruptedRun
from distq.run.results import RunResult

Watch = Callable[..., list[str]]
OPTIONS: dict[str, Any] = {"samples": 24, "shard_size": 3, "holdout": 0}


@pytest.fixture(scope="module")
def many(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("many") / "data.npy"
    np.save(path, samples(24))
    return path


@pytest.fixture(scope="module")
def whole(model: Path, many: Path, tmp_path_factory: pytest.TempPathFactory) -> RunResult:
    """A run that sums nothing up before its end."""
    return calibrate(model, many, tmp_path_factory.mktemp("whole") / "run", **OPTIONS)


@pytest.mark.parametrize(("summed", "stop_after"), [(1, 5), (2, 4), (2, 5), (3, 7), (4, 3), (8, 8)])
def test_sums_take_the_place_of_results_and_resume_goes_on_from_them(
    *,
    summed: int,
    stop_after: int,
    whole: RunResult,
    model: Path,
    many: Path,
    tmp_path: Path,
    watch: Watch,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("distq.stages.observe.SUMMED", summed)
    monkeypatch.setattr("distq.stages.observe.UNITS_OF_A_WORKER", 8)
    before = watch(stop_after)
    with pytest.raises(InterruptedRun):
        calibrate(model, many, tmp_path / "run", **OPTIONS)
    parts = list((tmp_path / "run" / "parts").iterdir())
    assert len(parts) == (stop_after >= summed) + stop_after % summed
    after = watch()
    resumed = calibrate(model, many, tmp_path / "run", resume=True, **OPTIONS)
    assert not set(before) & set(after)
    assert bits(resumed.out) == bits(whole.out)
    assert (resumed.out / "distributions.npz").read_bytes() == (whole.out / "distributions.npz").read_bytes()
    assert read_json(resumed.out / "run.json")["units"]["recalled"] >= len(before)


def test_a_sum_remembers_which_samples_could_not_be_decoded(
    model: Path, tmp_path: Path, watch: Watch, monkeypatch: pytest.MonkeyPatch
) -> None:
    photos = write_photos(tmp_path / "photos", 24)
    (photos / "0.png").write_bytes(b"damaged")
    options = {**OPTIONS, "skip_bad": 1}
    whole = calibrate(model, photos, tmp_path / "whole", **options)
    monkeypatch.setattr("distq.stages.observe.SUMMED", 2)
    monkeypatch.setattr("distq.stages.observe.UNITS_OF_A_WORKER", 8)
    watch(stop_after=5)
    with pytest.raises(InterruptedRun):
        calibrate(model, photos, tmp_path / "run", **options)
    watch()
    resumed = calibrate(model, photos, tmp_path / "run", resume=True, **options)
    assert resumed.warnings == whole.warnings
    assert resumed.cost.fp32_forwards == whole.cost.fp32_forwards
    assert bits(resumed.out) == bits(whole.out)
