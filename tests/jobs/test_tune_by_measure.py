"""``distq tune --diff``: the search lowers what the user named, and reports say what became of it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from job_helpers import Graph, bits, calibrate, journal_notes, read_json, samples, write_model

import distq
from distq.errors import UsageError
from distq.run.results import RunResult

TOGETHER = """
import numpy as np

higher_is_better = False
needs_float = True

def score(outputs, sample):
    errors = [np.abs(outputs[name] - sample.float_outputs[name]).mean() for name in ("left", "right")]
    return errors[0] + errors[1] + 5 * errors[0] * errors[1]
"""
"""Takes both outputs together: no sum over outputs gives it."""


def tune(model: Path, data: Path, out: Path, **options: Any) -> RunResult:
    given = {"executor": "local", "samples": 24, "tune_samples": 24, "allow_code": True, **options}
    return distq.tune(model=model, data=data, out=out, **given)


@pytest.fixture(scope="module")
def many(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("many") / "many.npy"
    np.save(path, samples(40))
    return path


@pytest.fixture(scope="module")
def two_heads(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A body and two heads: tensors of one head do not reach the other's output."""
    graph = Graph(5)
    graph.add("Relu", [graph.conv("x", (3, 6), "body_sums")], "body")
    for side in ("left", "right"):
        loud = graph.conv("body", (6, 6), f"{side}_sums", gain=(4, 1, 1, 1, 1, 1))
        graph.add("Relu", [loud], f"{side}_inner")
        graph.conv(f"{side}_inner", (6, 4), side)
    proto = graph.model({"left": (1, 4, 8, 8), "right": (1, 4, 8, 8)})
    return write_model(tmp_path_factory.mktemp("heads") / "heads.onnx", proto)


@pytest.fixture(scope="module")
def together(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("measure") / "together.py"
    path.write_text(TOGETHER)
    return path


def test_what_the_search_scored_is_the_measure_of_the_exported_model(
    two_heads: Path, together: Path, many: Path, tmp_path: Path
) -> None:
    """Without a correction behind the search: nothing else changes the model."""
    made = calibrate(two_heads, many, tmp_path / "made", samples=24)
    distq.convert(made.out, to="tpu-mlir", out=tmp_path / "table", model=two_heads)
    lines = [line.split() for line in (tmp_path / "table").read_text().splitlines()]
    for cells in lines:
        if cells[0] in {"left_inner_Relu", "right_inner_Relu"}:
            cells[1:] = [str(0.5 * float(cell)) for cell in cells[1:]]  # clips far too much
    table, out = tmp_path / "clipped", tmp_path / "run"
    table.write_text("\n".join(map(" ".join, lines)))
    options = {"bias_correction": False, "equalize": False, "effort": 5, "table": table}
    run = tune(two_heads, many, out, diff=together, **options)
    layers = journal_notes(out)
    assert run.tuning is not None
    (figures,) = run.tuning.measures
    assert figures.after is not None
    assert any(note["accepted"] for note in layers)
    assert layers[0]["before"] == pytest.approx(figures.before["together"], rel=1e-3)
    assert layers[-1]["after"] == pytest.approx(figures.after["together"], rel=1e-3)
    assert figures.after["together"] < figures.before["together"]


def test_it_does_not_depend_on_how_samples_are_dealt_out(
    two_heads: Path, together: Path, many: Path, tmp_path: Path
) -> None:
    runs = [
        tune(two_heads, many, tmp_path / str(size), diff=together, shard_size=size, effort=1)
        for size in (3, 8)
    ]
    assert bits(runs[0].out) == bits(runs[1].out)


@pytest.mark.parametrize("diff", ["squared", "cosine"])
def test_built_in_measures_are_lowered(diff: str, model: Path, many: Path, tmp_path: Path) -> None:
    run = tune(model, many, tmp_path / "run", diff=diff, effort=5, equalize=False)
    for part in (run.tuning, run.holdout):
        assert part is not None
        assert part.after is not None
        (figures,) = part.measures
        assert figures.measure == diff
        assert figures.after is not None
        better = figures.after[diff] > figures.before[diff]
        assert better == figures.higher_is_better


def test_the_start_is_what_calibrate_exports(model: Path, many: Path, tmp_path: Path) -> None:
    plain = tune(model, many, tmp_path / "plain", effort=1)
    named = tune(model, many, tmp_path / "named", effort=1, diff="squared")
    starts = [(run.out / "thresholds.calibrated.json").read_bytes() for run in (plain, named)]
    assert starts[0] == starts[1]


def test_naming_the_nmse_changes_nothing(model: Path, many: Path, tmp_path: Path) -> None:
    plain = tune(model, many, tmp_path / "plain", effort=1)
    named = tune(model, many, tmp_path / "named", effort=1, diff="nmse", measure="cosine")
    assert bits(plain.out) == bits(named.out)
    assert named.tuning is not None
    assert plain.tuning is not None
    assert named.tuning.before == plain.tuning.before
    (figures,) = named.tuning.measures
    assert figures.before["cosine"] == pytest.approx(named.tuning.before.cosine)
    assert read_json(named.out / "metrics.json")["tuning"]["measures"][0]["measure"] == "cosine"


def test_a_run_is_resumed_only_by_the_same_measure(
    two_heads: Path, together: Path, many: Path, tmp_path: Path
) -> None:
    out = tmp_path / "run"
    first = tune(two_heads, many, out, diff=together, effort=1)
    assert tune(two_heads, many, out, diff=together, effort=1, resume=True).tuning == first.tuning
    with pytest.raises(UsageError, match="holds another job: its diff is"):
        tune(two_heads, many, out, diff="cosine", effort=1, resume=True)


def test_the_bitmain_rule_lowers_it_too(model: Path, many: Path, tmp_path: Path) -> None:
    options = {"strategy": "bitmain", "samples": 6, "tune_samples": 6}
    by_name = tune(model, many, tmp_path / "named", diff="squared", **options)
    plain = tune(model, many, tmp_path / "plain", **options)
    values = [[note["after"] for note in journal_notes(run.out)] for run in (by_name, plain)]
    assert len(values[0]) > 2
    assert values[0] == pytest.approx(values[1], rel=1e-6)


def test_the_rule_of_tpu_mlir_compares_inside(model: Path, many: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="compares inside the network: leave --diff out"):
        tune(model, many, tmp_path / "run", strategy="tpu-mlir", diff="cosine")
