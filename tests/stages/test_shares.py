"""Shares of an attention that have too few steps of 8 bits are said, with what to try."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from job_helpers import Graph, calibrate, write_model

LENGTH, WIDTH = 160, 8


def attention(sharp: float) -> Graph:
    """Each row looks at all others but for the first, which sees itself alone where ``sharp`` is large.

    Query and key are the input with the first channel so many times larger; values are without it.
    """
    graph = Graph(1)
    wide = np.ones(WIDTH)
    wide[0] = sharp
    weight = graph.rng.standard_normal((WIDTH, WIDTH)) / np.sqrt(WIDTH)
    weight[0] = 0
    graph.add("MatMul", ["x", graph.constant(np.diag(wide) / 2)], "query")
    graph.add("MatMul", ["x", graph.constant(np.diag(wide) / 2)], "key")
    graph.add("MatMul", ["x", graph.constant(weight)], "value")
    graph.add("Transpose", ["key"], "turned", perm=[0, 2, 1])
    graph.add("MatMul", ["query", "turned"], "scores")
    graph.add("Softmax", ["scores"], "shares", axis=-1)
    graph.add("MatMul", ["shares", "value"], "means")
    graph.add("MatMul", ["means", graph.constant(np.eye(WIDTH) + 0.1)], "y")
    return graph


def rows(count: int) -> np.ndarray:
    values = np.random.default_rng(0).standard_normal((count, 1, LENGTH, WIDTH)) * 0.7
    values[..., 0] = 0
    values[..., 0, :] = 0
    values[..., 0, 0] = 1
    return np.asarray(values, np.float32)


@pytest.mark.parametrize("target", ["openvino", "ort"])
@pytest.mark.parametrize(("sharp", "said"), [(10.0, True), (0.0, False)])
def test_shares_that_lose_much_are_said(tmp_path: Path, sharp: float, said: bool, target: str) -> None:
    sizes = {"y": (1, LENGTH, WIDTH)}, {"x": (1, LENGTH, WIDTH)}
    model = write_model(tmp_path / "model.onnx", attention(sharp).model(*sizes))
    np.save(tmp_path / "data.npy", rows(12))
    options = {"samples": 8, "target": target, "method": "mse", "quantize_shares": True}
    found = calibrate(model, tmp_path / "data.npy", tmp_path / "run", **options)
    lines = [line for line in found.warnings if "behind a Softmax" in line]
    assert bool(lines) == said
    if not said:
        return
    assert "leave out --quantize-shares, or --int16-budget 1 " in lines[0]
    wide = calibrate(model, tmp_path / "data.npy", tmp_path / "wide", int16_layers=["shares"], **options)
    assert wide.holdout is not None
    assert found.holdout is not None
    assert (wide.holdout.before.sqnr_db or 0) > (found.holdout.before.sqnr_db or 0) + 2
    assert not [line for line in wide.warnings if "behind a Softmax" in line]
