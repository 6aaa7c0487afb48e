"""A decoder's cache, which holds nothing before the first word."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from job_helpers import calibrate, write_model
from networks import Builder

WIDTH = 8


@pytest.mark.parametrize("target", ["ort", "openvino"])
def test_a_sample_may_find_an_empty_cache(tmp_path: Path, target: str) -> None:
    b = Builder()
    keys = b.node(
        "Concat", "past", b.node("MatMul", "x", b.random(WIDTH, WIDTH, scale=0.3)), output="keys", axis=1
    )
    scores = b.node("MatMul", "x", b.node("Transpose", keys, perm=[0, 2, 1]))
    found = b.node("MatMul", b.node("Softmax", scores, axis=-1), keys)
    b.node("MatMul", found, b.random(WIDTH, WIDTH, scale=0.3), output="y")
    inputs = {"x": [1, "words", WIDTH], "past": [1, "before", WIDTH]}
    model = write_model(tmp_path / "model.onnx", b.model(inputs, ["y", "keys"]))
    (tmp_path / "data").mkdir()
    rng = np.random.default_rng(0)
    for number in range(12):
        before = number % 3 * 4
        x, past = rng.normal(size=(1, 2, WIDTH)), rng.normal(size=(1, before, WIDTH))
        np.savez(tmp_path / "data" / f"{number:02}.npz", x=x.astype(np.float32), past=past.astype(np.float32))
    run = calibrate(model, tmp_path / "data", tmp_path / "run", samples=8, target=target)
    assert run.tuning is not None
    assert run.tuning.before.sqnr_db > 25
