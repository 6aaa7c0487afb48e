"""Where ``distq calibrate`` takes its thresholds from: samples, a distribution file, or a given table."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from job_helpers import (
    CLASSES,
    bits,
    calibrate,
    depthwise_network,
    samples,
    three_layers,
    thresholds,
    write_model,
)

import distq
from distq.calibration.distributions import DistributionSet
from distq.errors import DataError, FileFormatError, UsageError
from distq.run.results import RunResult


def test_dumped_distributions_give_the_same_run(
    model: Path, data: Path, calibrated: RunResult, tmp_path: Path
) -> None:
    dump = tmp_path / "kept.npz"
    calibrate(model, data, tmp_path / "dumped", samples=8, dump_dist=dump)
    calibrate(model, data, tmp_path / "loaded", samples=8, load_dist=dump)
    assert dump.read_bytes() == (calibrated.out / "distributions.npz").read_bytes()
    assert (tmp_path / "loaded" / "distributions.npz").read_bytes() == dump.read_bytes()
    assert bits(tmp_path / "loaded") == bits(calibrated.out)


def test_a_runs_own_distributions_can_be_loaded_with_another_method(
    model: Path, data: Path, calibrated: RunResult, tmp_path: Path
) -> None:
    kept = calibrated.out / "distributions.npz"
    calibrate(model, data, tmp_path / "largest", samples=8, method="max", load_dist=kept)
    calibrate(model, data, tmp_path / "loaded", samples=8, method="mse", load_dist=kept)
    calibrate(model, data, tmp_path / "observed", samples=8, method="mse")
    assert thresholds(tmp_path / "loaded") == thresholds(tmp_path / "observed")
    assert (
        thresholds(tmp_path / "loaded")["first"]["threshold"]
        < thresholds(tmp_path / "largest")["first"]["threshold"]
    )


def test_distributions_of_something_else_are_refused(
    model: Path, data: Path, calibrated: RunResult, tmp_path: Path
) -> None:
    kept = calibrated.out / "distributions.npz"
    other_model = write_model(tmp_path / "other.onnx", three_layers(2))
    other_data = tmp_path / "other.npy"
    np.save(other_data, samples(seed=1))
    steps = tmp_path / "steps.yaml"
    steps.write_text("inputs: {'*': {steps: [{scale: 0.5}], layout: nchw}}\n")
    cases: list[tuple[str, Path, Path, dict[str, Any]]] = [
        ("model", other_model, data, {"samples": 8}),
        ("data set", model, other_data, {"samples": 8}),
        ("data set", model, data, {"samples": 7}),
        ("preprocessing", model, data, {"samples": 8, "preprocess": steps}),
    ]
    for field, some_model, some_data, options in cases:
        with pytest.raises(FileFormatError, match=rf"the distributions are of another {field}: "):
            calibrate(some_model, some_data, tmp_path / "run", load_dist=kept, **options)
        assert not (tmp_path / "run").exists()


def test_distributions_without_data_give_thresholds_and_no_model(
    model: Path, data: Path, tmp_path: Path
) -> None:
    """Methods cannot be compared then."""
    before = calibrate(model, data, tmp_path / "before", samples=8, method="mse")
    known = before.out / "distributions.npz"
    found = calibrate(model, None, tmp_path / "run", load_dist=known, method="mse")
    assert (tmp_path / "run" / "thresholds.json").read_bytes() == (
        before.out / "thresholds.json"
    ).read_bytes()
    assert not (tmp_path / "run" / "model.int8.onnx").exists()
    assert found.holdout is None
    assert found.tuning is None
    assert {path.name for path in found.files} == {
        *("thresholds.json", "tensors.csv"),
        *("metrics.json", "run.json"),
    }


def test_distributions_without_data_must_be_of_the_model(calibrated: RunResult, tmp_path: Path) -> None:
    other = write_model(tmp_path / "other.onnx", three_layers(2))
    with pytest.raises(
        DataError, match=r"is of another model: gather those of .*other\.onnx with --dump-dist"
    ):
        calibrate(other, None, tmp_path / "run", load_dist=calibrated.out / "distributions.npz")
    assert not (tmp_path / "run").exists()


def test_a_table_in_place_of_distributions_makes_the_same_model(
    model: Path, data: Path, calibrated: RunResult, tmp_path: Path
) -> None:
    found = calibrate(model, data, tmp_path / "run", samples=8, table=calibrated.out / "thresholds.json")
    assert bits(found.out) == bits(calibrated.out)
    assert found.holdout == calibrated.holdout
    assert not (tmp_path / "run" / "distributions.npz").exists()


def test_a_table_of_another_model_is_refused(data: Path, calibrated: RunResult, tmp_path: Path) -> None:
    other = write_model(tmp_path / "other.onnx", depthwise_network())
    with pytest.raises(FileFormatError, match="no row for depthwise0"):
        calibrate(other, data, tmp_path / "run", samples=8, table=calibrated.out / "thresholds.json")


def test_a_table_asks_for_its_own_target_where_it_lacks_tensors(
    model: Path, data: Path, calibrated: RunResult, tmp_path: Path
) -> None:
    """One for ``ort`` has every tensor that the other targets quantize."""
    calibrate(
        model, data, tmp_path / "run", samples=8, table=calibrated.out / "thresholds.json", target="openvino"
    )
    table = tmp_path / "run" / "thresholds.json"
    with pytest.raises(UsageError, match=r"is of a run with --target openvino: give --target openvino"):
        calibrate(model, data, tmp_path / "other", samples=8, table=table)
    assert not (tmp_path / "other").exists()


def test_a_table_that_lacks_layers_left_in_float_points_at_the_one_beside_it(
    model: Path, data: Path, tmp_path: Path
) -> None:
    options: dict[str, Any] = {
        "samples": 8,
        "tune_samples": 4,
        "effort": 1,
        "equalize": False,
        "float_budget": 2,
    }
    found = distq.tune(model=model, data=data, out=tmp_path / "run", executor="local", **options)
    with pytest.raises(UsageError, match=r"left in float: take the thresholds\.calibrated\.json beside it"):
        calibrate(model, data, tmp_path / "other", samples=8, table=found.out / "thresholds.json")
    calibrate(model, data, tmp_path / "other", samples=8, table=found.out / "thresholds.calibrated.json")


@pytest.mark.parametrize("options", [{"load_dist": Path("d")}, {"dump_dist": Path("d")}])
def test_a_table_leaves_distributions_no_use(
    options: dict[str, Path], model: Path, data: Path, calibrated: RunResult, tmp_path: Path
) -> None:
    with pytest.raises(UsageError, match="leave one out"):
        calibrate(model, data, tmp_path / "run", table=calibrated.out / "thresholds.json", **options)


def test_distributions_hold_every_quantizer(calibrated: RunResult) -> None:
    kept = DistributionSet.load(calibrated.out / "distributions.npz")
    elements = {"x": 3 * 64, "first": 4 * 64, "second": 4 * 64, "average": 64, "scores": CLASSES}
    assert {name: tensor.count for name, tensor in kept.tensors.items()} == {
        name: 8 * size for name, size in elements.items()
    }
    assert kept.tensors["x"].nonfinite == 0
