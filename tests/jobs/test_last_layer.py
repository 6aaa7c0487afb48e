"""What the last Gemm writes, in tables of a run and in options that name it."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from job_helpers import calibrate, depthwise_network, samples, thresholds, write_model

import distq


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("last")
    write_model(folder / "model.onnx", depthwise_network(blocks=1))
    np.save(folder / "data.npy", samples(12))
    return folder


def tune(place: Path, out: Path, **options: Any) -> Any:
    given = {"samples": 8, "effort": 1, "equalize": False, "executor": "local", **options}
    return distq.tune(model=place / "model.onnx", data=place / "data.npy", out=out, **given)


def test_tables_list_it_and_the_network_has_no_quantizer_there(place: Path, tmp_path: Path) -> None:
    found = calibrate(place / "model.onnx", place / "data.npy", tmp_path / "run", samples=8)
    row = thresholds(found.out)["scores"]
    assert row["threshold"] > 0
    names = {t.name for t in onnx.load(found.out / "model.int8.onnx").graph.initializer}
    assert "flat_scale" in names or "average_scale" in names
    assert "scores_scale" not in names
    with (found.out / "tensors.csv").open() as file:
        assert "scores" in {line["tensor"] for line in csv.DictReader(file)}
    distq.convert(found.out, to="tpu-mlir", out=tmp_path / "net_cali_table")
    assert "\nscores" in (tmp_path / "net_cali_table").read_text()


def test_16_bits_for_it_stay_in_the_table(place: Path, tmp_path: Path) -> None:
    found = tune(place, tmp_path / "run", int16_layers=["scores"], int16_budget=1)
    assert thresholds(found.out)["scores"]["bits"] == 16


def test_a_search_of_it_alone_leaves_all_as_it_is(place: Path, tmp_path: Path) -> None:
    found = tune(place, tmp_path / "run", layers=["scores"])
    assert "scores of --layers is not searched: the INT8 network writes it in float" in found.warnings
    assert found.layers == ()
    tables = [(found.out / f"thresholds{name}.json").read_bytes() for name in ("", ".calibrated")]
    assert tables[0] == tables[1]


def test_the_serial_tuners_hardware_rounds_it(place: Path, tmp_path: Path) -> None:
    found = tune(place, tmp_path / "run", strategy="bitmain", layers=["scores"])
    assert [layer.name for layer in found.layers] == ["scores"]


def test_a_table_without_it_serves(place: Path, tmp_path: Path) -> None:
    first = calibrate(place / "model.onnx", place / "data.npy", tmp_path / "first", samples=8)
    lines = (first.out / "tensors.csv").read_text().splitlines()
    table = tmp_path / "table.csv"
    table.write_text("\n".join(line for line in lines if not line.startswith("scores,")) + "\n")
    again = calibrate(place / "model.onnx", place / "data.npy", tmp_path / "again", samples=8, table=table)
    models = [(run.out / "model.int8.onnx").read_bytes() for run in (first, again)]
    assert models[0] == models[1]


def test_layers_that_a_budget_puts_in_float_may_be_named(place: Path, tmp_path: Path) -> None:
    searched = ["depthwise0", "pointwise0", "average", "scores"]
    found = tune(place, tmp_path / "run", layers=searched, float_budget=2)
    assert any("scores of --layers" in warning for warning in found.warnings)
