"""What is computed from the files of a run for the page."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import onnx
import pytest
from caffe_networks import Case, layer
from job_helpers import SHAPE, calibrate, samples, three_layers

from distq.calibration.histogram import Distribution
from distq.quant.scheme import encode
from distq.quant.table import Row
from distq.reports.command import command_of
from distq.reports.fits import Fits
from distq.reports.read import read_run
from distq.reports.runs import labels
from distq.run.results import RunResult
from distq.search.metrics import decibels, sqnr_db


def row_of(values: np.ndarray, threshold: float) -> Row:
    low, high = max(float(values.min()), -threshold), min(float(values.max()), threshold)
    encoding = encode(low, high, 8, symmetric=False)
    return Row(
        threshold=threshold,
        min=low,
        max=high,
        observed_min=float(values.min()),
        observed_max=float(values.max()),
        bits=8,
        signed=False,
        scale=encoding.scale,
        zero_point=encoding.zero_point,
        convention="255",
        method="kl",
    )


def test_a_fit_is_what_the_quantizer_does_to_the_values() -> None:
    values = samples(40).ravel()
    row = row_of(values, 2.5)
    levels = np.clip(np.rint(values / row.scale) + row.zero_point, 0, 255)
    error = (levels - row.zero_point) * row.scale - values
    found = Fits(Distribution.of(values)).of(row)
    assert found.clipped == pytest.approx(np.mean(np.abs(values) > 2.5), abs=2e-4)
    expected = decibels(float((error.astype(np.float64) ** 2).sum() / (values.astype(np.float64) ** 2).sum()))
    assert found.sqnr_db == pytest.approx(expected, abs=0.05)
    assert found.over_largest == pytest.approx(2.5 / np.abs(values).max())


def test_the_largest_value_is_not_clipped_by_a_threshold_at_it() -> None:
    values = samples(4).ravel()
    found = Fits(Distribution.of(values)).of_methods(row_of(values, 3.0), 2048, "auto")
    assert found["max"].clipped == 0
    assert found["mse"].sqnr_db >= found["max"].sqnr_db - 1e-9


def test_held_out_samples_give_the_reported_figures(tuned: RunResult) -> None:
    run = read_run(tuned.out, "run")
    assert run.held_out is not None
    assert tuned.holdout is not None
    assert tuned.holdout.after is not None
    assert run.held_out.samples == tuple(range(8, 20))
    for name, reported in (("before", tuned.holdout.before), ("after", tuned.holdout.after)):
        assert sqnr_db(run.held_out.statistics[name]) == pytest.approx(reported.sqnr_db, rel=1e-9)
        interval = run.held_out.sqnr_db[name]
        assert interval.low < reported.sqnr_db < interval.high


def test_without_a_journal_there_is_no_interval(tuned: RunResult, tmp_path: Path) -> None:
    shutil.copytree(tuned.out, tmp_path / "run")
    (tmp_path / "run" / "journal.jsonl").unlink()
    run = read_run(tmp_path / "run", "run")
    assert run.held_out is None
    assert run.result.holdout == tuned.holdout


def test_tensors_come_in_graph_order_with_their_operator(tuned: RunResult) -> None:
    kinds = {tensor.name: tensor.kind for tensor in read_run(tuned.out, "run").tensors}
    assert next(iter(kinds)) == "x"
    assert list(kinds)[-1] == "scores"
    assert kinds["x"] == "input"
    assert kinds["scores"] == "Gemm"


def test_weights_have_a_range_for_each_channel(tuned: RunResult) -> None:
    layers = {layer.name: layer for layer in read_run(tuned.out, "run").layers}
    assert {layer.kind for layer in layers.values()} == {"Conv", "Gemm"}
    assert layers["scores"].ranges.shape == (6,)
    assert all((layer.ranges > 0).all() for layer in layers.values())


def test_the_command_has_what_differs_from_the_defaults(tuned: RunResult) -> None:
    words = command_of(read_run(tuned.out, "run").record).split()
    assert words[:2] == ["distq", "tune"]
    assert words[words.index("--int16-budget") + 1] == "1"
    assert "--bins" not in words
    assert "--report" not in words


def test_an_option_that_is_off_and_names_with_blanks_are_written_for_a_shell() -> None:
    options = {"model": "my net.onnx", "bias_correction": False, "input_shape": [["x", [1, 3]]], "bins": 2048}
    record = {"job": {"command": "calibrate"}, "options": options}
    assert command_of(record) == "distq calibrate 'my net.onnx' --no-bias-correction --input-shape x=1,3"


def test_labels_tell_runs_apart(tmp_path: Path) -> None:
    assert labels([tmp_path / "a" / "run"]) == ["run"]
    assert labels([tmp_path / "a" / "run", tmp_path / "b" / "run"]) == ["a/run", "b/run"]


@pytest.mark.parametrize("with_data", [False, True])
def test_the_size_of_the_float_model_is_that_of_all_its_files(
    *, with_data: bool, data: Path, tmp_path: Path
) -> None:
    model = tmp_path / "model.onnx"
    onnx.save_model(three_layers(), model, save_as_external_data=with_data, location="w", size_threshold=0)
    calibrate(model, data, tmp_path / "run", samples=4, holdout=0)
    files = [path for path in (model, tmp_path / "w") if path.exists()]
    assert len(files) == 1 + with_data
    assert read_run(tmp_path / "run", "a").float_bytes == sum(path.stat().st_size for path in files)


def test_the_size_of_a_caffe_network_is_that_of_both_its_files(data: Path, tmp_path: Path) -> None:
    conv = layer("Convolution", "conv", convolution_param="num_output: 4 kernel_size: 3")
    case = Case(conv, {"data": (1, *SHAPE)}, {"conv": [(4, 3, 3, 3), (4,)]})
    net = case.save(tmp_path)
    calibrate(net, data, tmp_path / "run", samples=4, holdout=0)
    sizes = [net.stat().st_size, net.with_suffix(".caffemodel").stat().st_size]
    assert read_run(tmp_path / "run", "a").float_bytes == sum(sizes)
