"""Every score that won is what ``distq eval`` says of the model exported at that point."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from job_helpers import calibrate, read_json, samples

import distq
from distq.run.results import Accuracy

COUNT = 40
PLAIN = {"rounding": "nearest", "bias_correction": False}
"""So that nothing but thresholds changes from one point of the search to the next."""

ULPS = 8 * np.finfo(np.float64).eps
"""The search adds an image's share of the error, eval the error itself: the sums round apart."""


def nmse_at(model: Path, data: Path, table: dict[str, object], folder: Path) -> float:
    """``distq eval`` of the model exported with a table."""
    folder.mkdir()
    (folder / "table.json").write_text(json.dumps(table))
    run = calibrate(model, data, folder / "run", samples=COUNT, table=folder / "table.json", **PLAIN)
    candidate = run.out / "model.int8.onnx"
    found = distq.evaluate(candidate, data=data, against=model, samples=COUNT, executor="local").candidate
    assert isinstance(found, Accuracy)
    return found.nmse


@pytest.mark.parametrize("strategy", ["default", "grid"])
def test_a_layers_winning_score_is_that_of_the_model_exported_then(
    strategy: str, model: Path, tmp_path: Path
) -> None:
    data = tmp_path / "data.npy"
    np.save(data, samples(COUNT + 2))
    start = calibrate(model, data, tmp_path / "start", samples=COUNT, method="max", **PLAIN)
    run = distq.tune(
        model=model,
        data=data,
        out=tmp_path / "run",
        table=start.out / "thresholds.json",
        samples=COUNT,
        tune_samples=COUNT,
        strategy=strategy,
        effort=5,
        executor="local",
        **PLAIN,
    )
    table, tuned = (read_json(r.out / "thresholds.json") for r in (start, run))
    assert any(layer.accepted for layer in run.layers)
    before = nmse_at(model, data, table, tmp_path / "before")
    for layer in run.layers:
        assert layer.before == pytest.approx(before, rel=ULPS, abs=0)
        table["tensors"][layer.name] = tuned["tensors"][layer.name]
        before = nmse_at(model, data, table, tmp_path / layer.name)
        assert layer.after == pytest.approx(before, rel=ULPS, abs=0)
