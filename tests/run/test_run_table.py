"""Tables of runs that go on, and of runs that evened out channels."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from job_helpers import Reference, evening_job, read_json, samples, thresholds

import distq
from distq.engine.progress import SilentReporter
from distq.errors import UsageError

"""Of channels: one scale for all leaves the small ones few steps."""


class Converting(SilentReporter):
    """Converts the run at the start of the search and behind each tensor, as another process would."""

    def __init__(self, run: Path, out: Path) -> None:
        self.run = run
        self.out = out
        self.seen: list[tuple[dict[str, dict[str, Any]], str]] = []
        self.stage = ""

    def start(self, stage: str, total: int, unit: str) -> None:
        super().start(stage, total, unit)
        self.stage = stage
        self.look()

    def advance(self, count: int = 1) -> None:
        super().advance(count)
        self.look()

    def look(self) -> None:
        if self.stage == "search" and (self.run / "best_so_far").is_dir():
            before = {path.name for path in self.run.iterdir()}
            warnings = distq.convert(self.run, to="distq", out=self.out).warnings
            distq.convert(self.run, to="tpu-mlir", out=self.out.with_suffix(".cali"))
            assert {path.name for path in self.run.iterdir()} == before
            self.seen.append((read_json(self.out)["tensors"], warnings[0]))


def test_the_best_table_so_far_can_be_had_while_the_search_goes_on(
    model: Path, data: Path, tmp_path: Path
) -> None:
    watching = Converting(tmp_path / "run", tmp_path / "so_far.json")
    options = {"samples": 8, "tune_samples": 6, "method": "max", "strategy": "bitmain"}
    found = distq.tune(
        model=model, data=data, out=tmp_path / "run", executor="local", reporter=watching, **options
    )
    began, ended = thresholds_calibrated(found.out), thresholds(found.out)
    assert all("the run is not finished" in warning for _, warning in watching.seen)
    tables = [{name: row["threshold"] for name, row in table.items()} for table, _ in watching.seen]
    assert tables[0] == {name: row["threshold"] for name, row in began.items()}
    assert tables[-1] == {name: row["threshold"] for name, row in ended.items()}
    assert tables[0] != tables[-1]
    assert len({tuple(table.values()) for table in tables}) > 2
    lines = (tmp_path / "so_far.cali").read_text().splitlines()
    assert [line.split()[0] for line in lines if line.startswith("second")] == [
        "second_sums_Conv",
        "second_Relu",
    ]
    again = distq.convert(found.out, to="distq", out=tmp_path / "so_far.json")
    assert not again.warnings


def thresholds_calibrated(run: Path) -> dict[str, dict[str, Any]]:
    rows: dict[str, dict[str, Any]] = read_json(run / "thresholds.calibrated.json")["tensors"]
    return rows


@pytest.fixture(scope="module")
def evened(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that evened out channels, and its network and data beside it."""
    folder = tmp_path_factory.mktemp("evened")
    distq.tune(out=folder / "run", **evening_job(folder))
    return folder


def test_a_run_that_evened_out_channels_gives_its_table_and_the_network_it_is_of(
    evened: Path, tmp_path: Path
) -> None:
    result = distq.convert(evened / "run", to="csv", out=tmp_path / "t.csv")
    network = evened / "run" / "model.equalized.onnx"
    assert f"give the tool {network}" in result.warnings[-1]
    rows = [line.split(",") for line in (tmp_path / "t.csv").read_text().splitlines()[1:]]
    assert {row[0]: float(row[1]) for row in rows} == {
        name: row["threshold"] for name, row in thresholds(evened / "run").items()
    }
    graph = onnx.load(network).graph
    tensors = {name for node in graph.node for name in node.output} | {value.name for value in graph.input}
    assert {row[0] for row in rows} <= tensors
    ours, given = Reference(network), Reference(evened / "model.onnx")
    for sample in samples(12):
        np.testing.assert_allclose(ours(sample), given(sample), rtol=1e-4, atol=1e-5)


def test_scales_of_weights_are_those_of_the_equalized_network(evened: Path, tmp_path: Path) -> None:
    distq.convert(evened / "run", to="ort-overrides", out=tmp_path / "o.json")
    weights = {tensor.name for tensor in onnx.load(evened / "run" / "model.equalized.onnx").graph.initializer}
    found = {name for name in read_json(tmp_path / "o.json") if name in weights}
    assert any(name.endswith("_equalized_weight") for name in found)


def test_who_names_the_own_network_gets_the_table_that_the_run_began_with(
    evened: Path, tmp_path: Path
) -> None:
    result = distq.convert(evened / "run", to="distq", out=tmp_path / "t.json", model=evened / "model.onnx")
    assert "these are the ones it began with; --model " in result.warnings[-1]
    began = thresholds_calibrated(evened / "run")
    assert read_json(tmp_path / "t.json")["tensors"] == began


def test_a_run_that_was_stopped_before_it_calibrated_has_no_table(
    model: Path, data: Path, tmp_path: Path, watch: Any
) -> None:
    watch(stop_after=1)
    with pytest.raises(distq.InterruptedRun):
        distq.tune(model=model, data=data, out=tmp_path / "run", executor="local", samples=8)
    with pytest.raises(UsageError, match="has no network yet"):
        distq.convert(tmp_path / "run", to="csv", out=tmp_path / "t.csv")
