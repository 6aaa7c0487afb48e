"""``tune --int16-budget`` on networks whose channels are evened out."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from budget_networks import searched_behind_depthwise
from job_helpers import SPREAD, bits, depthwise_network, read_json, samples, thresholds, write_model

import distq
from distq.engine.progress import SilentReporter
from distq.run.results import RunResult

pytestmark = pytest.mark.usefixtures("eight_bits")


class Lines(SilentReporter):
    """Keeps the log."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def line(self, text: str) -> None:
        self.lines.append(text)


"""Of channels: one scale for all leaves the small ones few steps."""


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("evened")
    write_model(folder / "model.onnx", depthwise_network(spread=SPREAD))
    write_model(folder / "searched.onnx", searched_behind_depthwise())
    np.save(folder / "data.npy", samples(24))
    return folder


def tune(place: Path, out: Path, model: str = "model.onnx", **options: Any) -> RunResult:
    """A run that takes the network evened out anew."""
    given = {"samples": 8, "method": "kl", "int16_budget": 2, "shard_size": 8, **options}
    log = Lines()
    found = distq.tune(
        model=place / model,
        data=place / "data.npy",
        out=out,
        target="openvino",
        channel_scales=False,
        executor="local",
        reporter=log,
        **given,
    )
    assert [line for line in log.lines if line.startswith("evened out anew, with 16 bits for ")]
    return found


@pytest.fixture(scope="module")
def run(place: Path) -> RunResult:
    return tune(place, place / "run")


def written_scales(run: Path) -> dict[str, float]:
    """Scale of each tensor's QuantizeLinear."""
    graph = onnx.load(run / "model.int8.onnx").graph
    constants = {t.name: onnx.numpy_helper.to_array(t) for t in graph.initializer}
    nodes = [n for n in graph.node if n.op_type == "QuantizeLinear"]
    return {n.input[0]: float(constants[n.input[1]]) for n in nodes}


def test_the_curve_names_what_has_16_bits_in_the_written_model(run: RunResult) -> None:
    wide = [name for name, row in thresholds(run.out).items() if row["bits"] == 16]
    assert len(wide) == 2
    assert sorted(run.curve[-1].int16) == wide
    assert sorted(read_json(run.out / "run.json")["budget"]["int16"]) == wide
    assert run.tuning is not None
    assert run.tuning.after is not None
    assert run.curve[-1].nmse == run.tuning.after.nmse < run.curve[-2].nmse < run.curve[0].nmse


def test_the_table_has_the_scales_of_the_written_model(run: RunResult) -> None:
    rows = thresholds(run.out)
    assert {name: np.float32(row["scale"]) for name, row in rows.items()} == written_scales(run.out)


def test_what_is_reported_as_found_is_in_the_table(run: RunResult) -> None:
    rows = thresholds(run.out)
    assert run.layers
    assert {layer.name: layer.threshold for layer in run.layers} == {
        layer.name: rows[layer.name]["threshold"] for layer in run.layers
    }
    assert not [layer.name for layer in run.layers if rows[layer.name]["method"].endswith("+headroom")]


def test_what_the_search_changed_stays_where_no_factors_are(place: Path, tmp_path: Path) -> None:
    found = tune(place, tmp_path / "run", model="searched.onnx", samples=16, tune_samples=16, int16_budget=1)
    (changed,) = [layer for layer in found.layers if layer.accepted]
    row = thresholds(tmp_path / "run")[changed.name]
    assert changed.start != row["threshold"] == changed.threshold
    assert (changed.name, row["method"]) == ("loud", "default")


def test_a_tensor_with_16_bits_gets_no_factors(run: RunResult) -> None:
    methods = {row["bits"]: set[str]() for row in thresholds(run.out).values()}
    for row in thresholds(run.out).values():
        methods[row["bits"]].add(row["method"])
    assert "mse+headroom" in methods[8]
    assert methods[16] == {"max"}


def test_a_tensor_that_is_called_equalized_keeps_its_name(place: Path, run: RunResult) -> None:
    model = depthwise_network(spread=SPREAD)
    name = run.curve[-1].int16[0]
    for node in model.graph.node:
        for names in (node.input, node.output):
            names[:] = [f"{name}_equalized" if n == name else n for n in names]
    write_model(place / "named.onnx", model)
    found = tune(place, place / "named", model="named.onnx")
    assert found.curve[-1].int16 == (f"{name}_equalized", *run.curve[-1].int16[1:])


def test_the_same_bits_with_other_shards(place: Path, tmp_path: Path) -> None:
    for size in (2, 5):
        tune(place, tmp_path / str(size), shard_size=size)
    assert bits(tmp_path / "2") == bits(tmp_path / "5")
