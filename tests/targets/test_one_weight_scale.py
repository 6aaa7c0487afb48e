"""Layers whose weights have one scale: corrected and searched as those with one for each channel."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from networks import Builder, Quantized, load, run_literally
from replica_helpers import Bench, Crowd, numbers
from score_checks import assert_scores_are_those_of_the_exported_model

from distq.engine.journal import Journal
from distq.stages import correct as correction
from distq.stages.correct import round_and_correct
from distq.stages.float_means import with_float_means
from distq.targets.target import Target

NAMES = ["many branches", "Gemm, transposed", "ConvTranspose", "MatMul of a stack"]


@pytest.fixture(params=itertools.product(["everywhere", "layer inputs"], ["int32", "float32"]))
def target(request: pytest.FixtureRequest, add: Callable[[Target], str]) -> str:
    placement, bias = request.param
    everywhere = placement == "everywhere"
    return add(
        Target("npu", placement, signed=not everywhere, bias=bias, saturates=True, per_channel_weights=False)
    )


@pytest.mark.parametrize("name", NAMES)
def test_a_score_is_the_exported_models_error_to_the_last_bit(tmp_path: Path, name: str, target: str) -> None:
    assert_scores_are_those_of_the_exported_model(Bench(tmp_path, name, target, samples=2))


@pytest.mark.parametrize("name", NAMES)
def test_correction_keeps_the_scales_and_is_the_same_on_one_worker_and_on_many(
    tmp_path: Path, name: str, target: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(correction, "LEAST_STAGE_WORK", 1)
    bench = Bench(tmp_path, name, target)
    run = bench.opened()
    form = with_float_means(run, bench.form)
    with Journal(tmp_path / "journal") as journal:
        crowd = replace(run, executor=Crowd(bench.worker.settings), journal=journal)
        (shared,) = round_and_correct(crowd, [form])
    (alone,) = round_and_correct(run, [form])
    assert numbers(shared) == numbers(alone)
    for layer, weight in alone.state.weights.items():
        assert weight.scale.shape == ()
        assert weight.scale == bench.state.weights[layer].scale


def test_a_bias_too_large_for_int32_raises_the_one_scale(
    tmp_path: Path, add: Callable[[Target], str]
) -> None:
    b = Builder(1)
    weight = np.full((2, 4, 1, 1), 1e-9, np.float32)
    inputs = ["x", b.constant(weight), b.constant(np.array([1.0, -1000.0], np.float32))]
    b.node("Conv", *inputs, output="y")
    name = add(Target("npu", "layer inputs", per_channel_weights=False))
    quantized = Quantized(load(tmp_path, b.model({"x": [1, 4, 8, 8]}, ["y"])), name)
    assert quantized.state.weights["y"].scale.shape == ()
    found = run_literally(quantized.exported, quantized.feeds[0])["y"]
    np.testing.assert_allclose(found[0, :, 0, 0], [1.0, -1000.0], rtol=1e-5)
