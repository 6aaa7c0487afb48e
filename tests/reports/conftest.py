"""Runs that the tests of the page show."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from job_helpers import depthwise_network, samples, write_model

import distq
from distq.run.results import RunResult


@pytest.fixture(scope="session")
def tuned(tmp_path_factory: pytest.TempPathFactory) -> RunResult:
    """A run of tune with a budget and measures, whose channels are far apart."""
    place = tmp_path_factory.mktemp("tuned")
    np.save(place / "data.npy", samples(20))
    return distq.tune(
        model=write_model(place / "network.onnx", depthwise_network(blocks=2, spread=(20, *[1] * 7))),
        data=place / "data.npy",
        out=place / "run",
        samples=8,
        tune_samples=6,
        int16_budget=1,
        measure=("cosine", "squared"),
        executor="local",
        report=True,
    )


@pytest.fixture(scope="session")
def page(tuned: RunResult) -> Path:
    """Its page."""
    return tuned.out / "report.html"
