"""``tune --int16-budget`` on networks whose channels are evened out."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from budget_networks import one_wide_tensor
from job_helpers import bits, read_json, samples, thresholds, write_model

import distq
from distq.jobs.results import RunResult


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("evened")
    write_model(folder / "wide.onnx", one_wide_tensor())
    np.save(folder / "data.npy", samples(16))
    return folder


def tune(place: Path, out: Path, shard_size: int = 8) -> RunResult:
    return distq.tune(
        model=place / "wide.onnx",
        data=place / "data.npy",
        out=out,
        samples=8,
        target="openvino",
        int16_budget=1,
        executor="local",
        shard_size=shard_size,
    )


def test_the_curve_names_what_has_16_bits_in_the_written_model(place: Path, tmp_path: Path) -> None:
    found = tune(place, tmp_path / "run")
    record = read_json(tmp_path / "run" / "run.json")
    (wide,) = (name for name, row in thresholds(tmp_path / "run").items() if row["bits"] == 16)
    assert found.curve[-1].int16 == (wide,)
    assert record["budget"]["int16"] == [wide]
    assert found.tuning is not None
    assert found.tuning.after is not None
    assert found.curve[-1].nmse == found.tuning.after.nmse < found.curve[0].nmse


def test_the_same_bits_with_other_shards(place: Path, tmp_path: Path) -> None:
    for size in (2, 5):
        tune(place, tmp_path / str(size), shard_size=size)
    assert bits(tmp_path / "2") == bits(tmp_path / "5")
