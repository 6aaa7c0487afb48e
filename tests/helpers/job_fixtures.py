"""Fixtures that tests of whole runs share: a model, data, a calibrated run, a sweep."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from job_helpers import calibrate, samples, three_layers, use_watched, write_model

from distq.run.results import RunResult


@pytest.fixture(scope="session")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A network of three layers, from ``x`` (1, 3, 8, 8) to ``scores`` (1, 6)."""
    return write_model(tmp_path_factory.mktemp("model") / "model.onnx", three_layers())


@pytest.fixture(scope="session")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Twelve samples for it."""
    path = tmp_path_factory.mktemp("data") / "data.npy"
    np.save(path, samples())
    return path


@pytest.fixture(scope="session")
def calibrated(model: Path, data: Path, tmp_path_factory: pytest.TempPathFactory) -> RunResult:
    """A run of calibrate: eight samples calibrate, the other four are held out."""
    return calibrate(model, data, tmp_path_factory.mktemp("calibrated") / "run", samples=8)


@pytest.fixture
def content(model: Path, data: Path, tmp_path: Path) -> dict[str, Any]:
    """A sweep of two methods by two schemes."""
    return {
        "command": "calibrate",
        "model": str(model),
        "data": str(data),
        "samples": 8,
        "executor": "local",
        "out": str(tmp_path / "sweep"),
        "matrix": {"method": ["kl", "mse"], "scheme": ["auto", "symmetric"]},
    }


@pytest.fixture
def watch(monkeypatch: pytest.MonkeyPatch) -> Callable[..., list[str]]:
    """Have the jobs use a watched executor; gives the list that the keys of its units go to."""

    def replace(stop_after: int | None = None) -> list[str]:
        ran: list[str] = []
        use_watched(monkeypatch, ran, stop_after)
        return ran

    return replace
