"""``distq eval --speed`` and ``--skip``: models timed side by side, and samples left out."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from job_helpers import SAMPLES, samples

import distq
from distq.cli.app import invoke
from distq.errors import DataError, ExecutionError
from distq.replica.speed import FEW_ROUNDS, time_models
from distq.replica.worker import WorkerSettings
from distq.run.results import EvaluateResult
from distq.run.speed import speed


def evaluate(model: Path, data: Path, **options: Any) -> EvaluateResult:
    return distq.evaluate(model, data=data, executor="local", **options)


def test_both_models_are_timed_side_by_side(model: Path, data: Path) -> None:
    found = evaluate(model, data, against=model, samples=2, speed=True).speed
    assert found is not None
    assert found.against is not None
    assert found.provider == "CPUExecutionProvider"
    assert found.threads == 1
    for latency in (found.candidate, found.against):
        assert 0 < latency.low_ms <= latency.median_ms <= latency.high_ms
        assert latency.memory_mb > 0
        assert latency.file_mb == pytest.approx(model.stat().st_size / 2**20, rel=0.01)
    assert found.ratio == pytest.approx(found.against.median_ms / found.candidate.median_ms)


def test_they_are_timed_as_often_as_each_other_and_as_often_as_asked(model: Path) -> None:
    proto, feeds = model.read_bytes(), {"x": samples()[0][None]}
    timed = time_models([proto, proto], feeds, WorkerSettings(), rounds=2)
    assert len(timed[0].seconds) == len(timed[1].seconds)
    assert speed(proto, None, feeds, WorkerSettings(), FEW_ROUNDS).against is None


def test_a_model_that_does_not_load_is_told_in_one_line(model: Path) -> None:
    with pytest.raises(ExecutionError, match="cannot load the model"):
        time_models([model.read_bytes()[:-20]], {"x": samples()[0][None]}, WorkerSettings())


def test_the_command_shows_times(model: Path, data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = [str(model), "--against", str(model), "--data", str(data), "--executor", "local"]
    assert invoke(["eval", *arguments, "--samples", "2", "--speed"]) == 0
    assert "times float" in capsys.readouterr().out


def test_samples_are_skipped(model: Path, data: Path, tmp_path: Path) -> None:
    rest = tmp_path / "rest.npy"
    np.save(rest, samples()[3:8])
    other = model.parent / "other.onnx"
    other.write_bytes(model.read_bytes())
    assert evaluate(model, data, against=other, skip=3, samples=5).images == 5
    labels = tmp_path / "labels.txt"
    labels.write_text("\n".join(f"{i} {i % 6}" for i in range(SAMPLES)))
    shifted = tmp_path / "shifted.txt"
    shifted.write_text("\n".join(f"{i} {(i + 3) % 6}" for i in range(5)))
    assert evaluate(model, data, labels=labels, skip=3, samples=5) == evaluate(model, rest, labels=shifted)
    assert evaluate(model, data, skip=3).images == SAMPLES - 3


def test_more_than_there_are_cannot_be_skipped(model: Path, data: Path) -> None:
    with pytest.raises(DataError, match="--skip 12 and 1 samples behind asked for, the data has 12"):
        evaluate(model, data, skip=SAMPLES)
