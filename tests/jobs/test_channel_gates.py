"""Scales by channel in front of depthwise layers with ``--target ort``, around a SiLU or HardSwish."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from job_helpers import SHAPE, Graph, Reference, bits, samples, thresholds, write_model

import distq
from distq.errors import FileFormatError
from distq.exchange.run_source import scales_of
from distq.quant.table import dump_table, read_table

SPREAD = (300.0, 30.0, 3.0, 1.0, 1.0, 1.0, 1.0, 1.0)
AROUND = {"silu": {"first_sums", "first"}, "hard": {"first_sums", "first"}}


def network(kind: str, *, second_reader: bool = False, bias: float | None = None) -> onnx.ModelProto:
    """``first_sums`` goes through a SiLU or HardSwish to ``first``, which a depthwise layer reads."""
    graph = Graph(7)
    sums = graph.conv("x", (3, 8), "first_sums", kernel=1, gain=SPREAD, bias=bias)
    if kind == "hard":
        graph.add("HardSwish", [sums], "first")
    else:
        graph.add("Mul", [sums, graph.add("Sigmoid", [sums], "gate")], "first")
    depthwise = graph.conv("first", (8, 8), "second", group=8, gain=[1 / factor for factor in SPREAD])
    graph.conv(depthwise, (8, 8), "y", kernel=1)
    outputs = {"y": (1, 8, *SHAPE[1:])}
    if second_reader:
        graph.conv("first", (8, 8), "z", kernel=1)
        outputs["z"] = (1, 8, *SHAPE[1:])
    proto = graph.model(outputs)
    proto.opset_import[0].version = 14
    return proto


def job(folder: Path, kind: str, **more: Any) -> dict[str, Any]:
    write_model(folder / "model.onnx", network(kind))
    np.save(folder / "data.npy", samples(12))
    files = {"model": folder / "model.onnx", "data": folder / "data.npy"}
    return {**files, "target": "ort", "method": "mse", "samples": 8, "executor": "local", **more}


def by_channel(run: Path) -> set[str]:
    return {name for name, row in thresholds(run).items() if "channels" in row}


def error(run: Path, folder: Path) -> float:
    exported, exact = Reference(run / "model.int8.onnx"), Reference(folder / "model.onnx")
    return float(sum(np.sum((exported(x) - exact(x)) ** 2) for x in samples(20)[12:]))


def run_by(model: Path, level: str) -> tuple[list[np.ndarray], set[str]]:
    """Outputs on samples, and operators that ran."""
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = getattr(onnxruntime.GraphOptimizationLevel, level)
    options.optimized_model_filepath = str(model.with_suffix(f".{level}.onnx"))
    options.log_severity_level = 4
    session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    outputs = [session.run(None, {"x": x[None]})[0] for x in samples(20)[12:]]
    return outputs, {node.op_type for node in onnx.load(options.optimized_model_filepath).graph.node}


@pytest.mark.parametrize("kind", ["silu", "hard"])
def test_unlike_channels_gain_six_decibels_on_integer_kernels(kind: str, tmp_path: Path) -> None:
    options = job(tmp_path, kind)
    runs = {on: tmp_path / f"run_{on}" for on in (False, True)}
    for on, out in runs.items():
        distq.calibrate(**options, out=out, channel_scales=on)
    assert by_channel(runs[False]) == set()
    assert by_channel(runs[True]) == AROUND[kind]
    assert error(runs[True], tmp_path) * 4 < error(runs[False], tmp_path)
    fused, kernels = run_by(runs[True] / "model.int8.onnx", "ORT_ENABLE_ALL")
    assert {"QLinearConv", "QLinearMul"} <= kernels
    assert kernels.isdisjoint({"Conv", "Mul", "Sigmoid", "HardSwish", "HardSigmoid", "QuickGelu", "Add"})
    literal, _ = run_by(runs[True] / "model.int8.onnx", "ORT_DISABLE_ALL")
    step = thresholds(runs[True])["y"]["scale"]
    for one, other in zip(fused, literal, strict=True):
        assert np.abs(one - other).max() < 1.5 * step  # a rounding that falls the other way
        assert np.mean(np.abs(one - other) > 0.5 * step) < 0.02


@pytest.mark.parametrize("scheme", ["auto", "symmetric"])
def test_a_table_of_them_makes_the_same_network_again(scheme: str, tmp_path: Path) -> None:
    options = job(tmp_path, "silu", scheme=scheme)
    run, again = tmp_path / "run", tmp_path / "again"
    distq.calibrate(**options, out=run)
    assert by_channel(run)
    distq.calibrate(**options, table=run / "thresholds.json", out=again)
    assert bits(again) == bits(run)
    assert distq.calibrate(**options, out=run, resume=True).holdout is not None
    known = {name: options[name] for name in ("model", "data", "executor")}
    found = distq.diff(**known, table=run / "thresholds.json", sensitivity=True)
    assert {tensor.tensor for tensor in found.tensors} == thresholds(run).keys()


def test_search_budget_and_serial_tuner_leave_them_alone(tmp_path: Path) -> None:
    options = job(tmp_path, "silu")
    run = tmp_path / "run"
    distq.tune(**options, out=run, effort=1, int16_budget=1)
    wide = {name for name, row in thresholds(run).items() if row["bits"] == 16}
    assert wide
    assert by_channel(run) == (set() if wide & AROUND["silu"] else AROUND["silu"])
    distq.tune(**options, out=tmp_path / "serial", strategy="bitmain")
    assert by_channel(tmp_path / "serial") == AROUND["silu"]
    assert error(tmp_path / "serial", tmp_path) < np.inf


def test_what_other_layers_read_too_keeps_one_scale_and_the_same_bytes(tmp_path: Path) -> None:
    options = job(tmp_path, "silu")
    write_model(tmp_path / "model.onnx", network("silu", second_reader=True))
    for on in (False, True):
        distq.calibrate(**options, out=tmp_path / f"run_{on}", channel_scales=on)
    assert bits(tmp_path / "run_True") == bits(tmp_path / "run_False")


def test_a_table_whose_two_sides_do_not_go_together_is_refused(tmp_path: Path) -> None:
    options = job(tmp_path, "silu")
    run = distq.calibrate(**options, out=tmp_path / "run").out
    rows = read_table(run / "thresholds.json")
    scale, zero_point = (rows["first"].channels or ())[0]
    others = ((2 * scale, zero_point), *(rows["first"].channels or ())[1:])
    changed = tmp_path / "changed.json"
    changed.write_bytes(dump_table({**rows, "first": replace(rows["first"], channels=others)}))
    with pytest.raises(FileFormatError, match="first"):
        distq.calibrate(**options, table=changed, out=tmp_path / "refused")


def test_beside_a_depthwise_layer_in_float_what_float_reads_has_scales_by_channel(tmp_path: Path) -> None:
    options = job(tmp_path, "silu", float_depthwise=True)
    runs = {on: tmp_path / f"run_{on}" for on in (False, True)}
    for on, out in runs.items():
        distq.calibrate(**options, out=out, channel_scales=on)
    assert by_channel(runs[True]) == {"first_sums"}
    assert "first" not in thresholds(runs[True])
    assert error(runs[True], tmp_path) * 4 < error(runs[False], tmp_path)
    fused, literal = (
        run_by(runs[True] / "model.int8.onnx", level)[0] for level in ("ORT_ENABLE_ALL", "ORT_DISABLE_ALL")
    )
    step = thresholds(runs[True])["y"]["scale"]
    assert all(np.abs(one - other).max() < 1.5 * step for one, other in zip(fused, literal, strict=True))
    again = tmp_path / "again"
    distq.calibrate(**options, table=runs[True] / "thresholds.json", out=again)
    assert bits(again) == bits(runs[True])


def test_a_depthwise_layer_stays_float_where_one_zero_point_leaves_too_much(tmp_path: Path) -> None:
    """Channels far below zero, of which a SiLU leaves little, beside others that are wide."""
    options = job(tmp_path, "silu")
    write_model(tmp_path / "model.onnx", network("silu", bias=-5.0))
    found = distq.calibrate(**options, out=tmp_path / "run")
    assert by_channel(found.out) == {"first_sums"}
    assert "second" in {layer.name for layer in found.float_layers}
    again = distq.calibrate(**options, table=found.out / "thresholds.json", out=tmp_path / "again")
    assert bits(again.out) == bits(found.out)
    distq.calibrate(**options, float_if_faster="never", out=tmp_path / "never")
    assert by_channel(tmp_path / "never") == AROUND["silu"]
    assert error(found.out, tmp_path) < error(tmp_path / "never", tmp_path)


@pytest.mark.parametrize("in_float", [False, True])
def test_tables_of_other_tools_get_scales_of_the_weights_as_they_were_given(
    in_float: bool, tmp_path: Path
) -> None:
    options = job(tmp_path, "silu", float_depthwise=in_float)
    found = []
    for on in (False, True):
        run = distq.calibrate(**options, out=tmp_path / f"run_{on}", channel_scales=on).out
        found.append(scales_of(onnx.load(run / "model.int8.onnx")))
    assert by_channel(tmp_path / "run_True")
    assert found[0].keys() == found[1].keys()
    for node, scales in found[0].items():
        np.testing.assert_allclose(found[1][node].scales, scales.scales, rtol=1e-5)


@pytest.mark.parametrize("kind", ["silu", "hard"])
def test_what_stands_in_front_of_factors_is_searched_as_it_is_exported(kind: str, tmp_path: Path) -> None:
    """The layer that reads the searched tensor holds its bias divided by the factors."""
    options = job(tmp_path, kind, tune_samples=8, bias_correction=False)
    found = distq.tune(**options, out=tmp_path / "run", layers=["x"], effort=3, channel_scales=True)
    assert by_channel(tmp_path / "run") == AROUND[kind]
    (searched,) = found.layers
    assert found.tuning is not None
    assert searched.name == "x"
    assert searched.before == pytest.approx(found.tuning.before.nmse, rel=1e-6)
