"""``distq tune``: what is searched, what is kept, and that the model gets no worse."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pytest
from job_helpers import Reference, bits, calibrate, journal_notes, read_json, samples, thresholds

import distq
from distq.calibration.methods import METHODS
from distq.config import MethodName
from distq.engine.progress import SilentReporter
from distq.errors import DataError, UsageError
from distq.run.results import RunResult

SEARCHED = ["first", "second", "average"]


def tune(model: Path, data: Path, out: Path, **options: Any) -> RunResult:
    given = {"executor": "local", "samples": 24, "tune_samples": 24, **options}
    return distq.tune(model=model, data=data, out=out, **given)


@pytest.fixture(scope="module")
def many(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Forty samples: enough for an improvement to be significant."""
    path = tmp_path_factory.mktemp("many") / "many.npy"
    np.save(path, samples(40))
    return path


@pytest.fixture(scope="module")
def run(model: Path, many: Path, tmp_path_factory: pytest.TempPathFactory) -> RunResult:
    return tune(model, many, tmp_path_factory.mktemp("tune") / "run", equalize=False, effort=5)


def test_the_start_of_the_search_is_what_calibrate_exports(
    run: RunResult, model: Path, many: Path, tmp_path: Path
) -> None:
    calibrated = calibrate(model, many, tmp_path / "run", samples=24)
    assert run.holdout is not None
    assert run.tuning is not None
    assert calibrated.holdout is not None
    assert calibrated.tuning is not None
    assert run.holdout.before == calibrated.holdout.before
    assert run.tuning.before == calibrated.tuning.before
    start = run.out / "thresholds.calibrated.json"
    assert start.read_bytes() == (tmp_path / "run" / "thresholds.json").read_bytes()


def test_without_layers_to_search_a_table_gives_the_model_of_calibrate(
    model: Path, many: Path, tmp_path: Path
) -> None:
    made = calibrate(model, many, tmp_path / "calibrated", samples=24)
    table = made.out / "thresholds.json"
    found = tune(model, many, tmp_path / "tuned", table=table, ignore_layers=SEARCHED)
    assert bits(found.out) == bits(made.out)
    assert found.tuning is not None
    assert found.tuning.after == found.tuning.before


def test_the_tuned_model_is_closer_to_float_on_tuning_and_held_out_images(run: RunResult) -> None:
    for part in (run.tuning, run.holdout):
        assert part is not None
        assert part.after is not None
        assert part.after.nmse < 0.7 * part.before.nmse
        assert part.after.sqnr_db > part.before.sqnr_db


def test_after_is_the_exported_model_in_onnx_runtime(run: RunResult, model: Path) -> None:
    exact, quantized = Reference(model), Reference(run.out / "model.int8.onnx")
    images = samples(40)[24:]
    y32 = np.array([exact(image) for image in images], np.float64)
    y8 = np.array([quantized(image) for image in images], np.float64)
    assert run.holdout is not None
    assert run.holdout.after is not None
    assert run.holdout.images == 16
    assert run.holdout.after.nmse == pytest.approx(np.sum((y8 - y32) ** 2) / np.sum(y32**2), rel=1e-3)


def test_a_search_from_a_table_changes_the_rows_it_accepted(model: Path, many: Path, tmp_path: Path) -> None:
    made = calibrate(model, many, tmp_path / "calibrated", samples=24, method="max")
    found = tune(model, many, tmp_path / "run", table=made.out / "thresholds.json")
    start = thresholds(made.out)
    assert read_json(found.out / "thresholds.calibrated.json")["tensors"] == start
    accepted = {note["name"] for note in journal_notes(found.out) if note["accepted"]}
    assert "first" in accepted
    for name, row in thresholds(found.out).items():
        changed = name in accepted or row["tied_to"] in accepted
        assert (row["threshold"] != start[name]["threshold"]) == changed
        assert row["method"] == ("default" if changed else "max")
        assert row["observed_max"] == start[name]["observed_max"]


def test_rows_name_the_method_that_chose_their_threshold(run: RunResult) -> None:
    start = read_json(run.out / "thresholds.calibrated.json")["tensors"]
    (chosen,) = {row["method"] for name, row in start.items() if name != "x"}
    assert chosen in METHODS
    assert {row["method"] for row in thresholds(run.out).values()} <= {*get_args(MethodName), "default"}


def test_the_journal_has_one_note_for_each_layer_in_graph_order(run: RunResult) -> None:
    notes = journal_notes(run.out)
    assert [note["name"] for note in notes] == SEARCHED
    found = thresholds(run.out)
    for note in notes:
        assert note["threshold"] == found[note["name"]]["threshold"]
        assert note["scored"] > 0
        assert note["after"] <= note["before"]
        assert note["dropped"] < note["scored"]
        assert note["reason"]


def test_a_run_of_tune_has_both_tables_and_its_cost(run: RunResult) -> None:
    assert {path.name for path in run.files} == {
        "model.int8.onnx",
        "thresholds.json",
        "thresholds.calibrated.json",
        "metrics.json",
        "run.json",
        "distributions.npz",
        "tensors.csv",
    }
    assert run.cost.int8_forwards > 24
    assert run.cost.fp32_forwards >= 24
    assert read_json(run.out / "run.json")["options"]["strategy"] == "default"


@pytest.mark.parametrize(
    ("options", "searched"),
    [
        ({"layers": ["second"]}, ["second"]),
        ({"layers": "average,first"}, ["first", "average"]),
        ({"layers": ["first", "second"], "ignore_layers": ["second"]}, ["first"]),
        ({"ignore_layers": "first,average"}, ["second"]),
        ({"layers": ["first_sums", "flat"]}, ["first", "average"]),
    ],
)
def test_layers_to_search_are_named_by_output_tensors(
    options: dict[str, Any], searched: list[str], model: Path, many: Path, tmp_path: Path
) -> None:
    tune(model, many, tmp_path / "run", tune_samples=8, **options)
    assert [note["name"] for note in journal_notes(tmp_path / "run")] == searched


def test_a_network_input_is_searched_on_request(model: Path, many: Path, tmp_path: Path) -> None:
    tune(model, many, tmp_path / "run", tune_samples=8, layers=["x"])
    assert [note["name"] for note in journal_notes(tmp_path / "run")] == ["x"]


@pytest.mark.parametrize("option", ["layers", "ignore_layers", "int16_layers"])
def test_an_unknown_layer_is_named_with_the_nearest(
    option: str, model: Path, many: Path, tmp_path: Path
) -> None:
    with pytest.raises(
        UsageError, match=rf"^--{option.replace('_', '-')} names secnd.*the nearest is second"
    ):
        tune(model, many, tmp_path / "run", **{option: ["secnd"]})
    assert not (tmp_path / "run").exists()


def test_a_given_table_is_the_start(run: RunResult, model: Path, many: Path, tmp_path: Path) -> None:
    table = run.out / "thresholds.json"
    tune(model, many, tmp_path / "run", table=table, layers=["average"])
    start = (tmp_path / "run" / "thresholds.calibrated.json").read_bytes()
    assert start == table.read_bytes()


def test_fewer_samples_than_the_default_are_all_used(model: Path, data: Path, tmp_path: Path) -> None:
    found = distq.tune(model=model, data=data, out=tmp_path / "run", executor="local", samples=8)
    assert found.tuning is not None
    assert found.tuning.images == 8
    with pytest.raises(DataError, match=r"64 tuning samples asked for of 8: give --tune-samples 8"):
        distq.tune(model=model, data=data, out=tmp_path / "b", executor="local", samples=8, tune_samples=64)


def test_the_log_has_the_lines_of_the_original_tuner_and_the_gain(
    model: Path, data: Path, tmp_path: Path
) -> None:
    lines: list[str] = []

    class Listening(SilentReporter):
        def line(self, text: str) -> None:
            lines.append(text)

    options = {"samples": 8, "tune_samples": 4, "strategy": "bitmain", "method": "kl", "layers": ["first"]}
    tune(model, data, tmp_path / "run", reporter=Listening(), weight_bits="8", **options)
    (note,) = journal_notes(tmp_path / "run")
    assert lines[1].startswith("ori_thres=")
    assert lines[2].startswith("start tuning: 1, layer: first, tuning threshold: ")
    assert lines[3].startswith("end tuning: 1, layer: first, tuning diff: ")
    assert sum(line.startswith("end tuning: ") for line in lines) == note["scored"]
    assert lines[-2].startswith("tuning end, layer: first,  best diff with tune: ")
    assert lines[0].split() == ["threshold", "diff", "scored", "dropped", "secs", "layer"]
    assert lines[-1].startswith(f"{note['start']:.3g} ")
    assert lines[-1].endswith(" first")


def test_each_layer_says_what_became_of_it(model: Path, many: Path, tmp_path: Path) -> None:
    lines: list[str] = []

    class Listening(SilentReporter):
        def line(self, text: str) -> None:
            lines.append(text)

    found = tune(model, many, tmp_path / "run", reporter=Listening(), method="max", strategy="grid", effort=2)
    assert [layer.name for layer in found.layers] == SEARCHED
    for layer in found.layers:
        (line,) = (line for line in lines if line.endswith(f" {layer.name}"))
        figures = line.split()[: 8 if layer.accepted else 4]
        if layer.accepted:
            start, _, threshold, before, _, after, scored, dropped = figures
            assert (threshold, after) == (f"{layer.threshold:.3g}", f"{layer.after:.3g}")
        else:
            start, before, scored, dropped = figures
        assert (start, before) == (f"{layer.start:.3g}", f"{layer.before:.3g}")
        assert (scored, dropped) == (str(layer.scored), str(layer.dropped))
    assert any(layer.accepted for layer in found.layers)


def test_metrics_say_what_was_searched_and_what_was_rejected_as_insignificant(
    model: Path, many: Path, tmp_path: Path
) -> None:
    found = tune(model, many, tmp_path / "run", tune_samples=4, strategy="grid", effort=5)
    metrics = read_json(tmp_path / "run" / "metrics.json")
    notes = journal_notes(tmp_path / "run")
    assert [layer["name"] for layer in metrics["layers"]] == [note["name"] for note in notes] == SEARCHED
    rejected = [candidate for layer in metrics["layers"] for candidate in layer["insignificant"]]
    assert rejected
    for layer, note in zip(metrics["layers"], notes, strict=True):
        gains = [candidate["gain"] for candidate in layer["insignificant"]]
        assert gains == sorted(gains, reverse=True)
        assert gains == [candidate["gain"] for candidate in note["insignificant"]]
        for candidate in layer["insignificant"]:
            assert candidate["gain"] > 0
            found_t, needed = map(float, re.findall(r"-?\d+\.\d+", candidate["reason"]))
            assert candidate["t"] == pytest.approx(found_t, abs=0.006)
            assert found_t > needed
    again = tune(model, many, tmp_path / "run", tune_samples=4, strategy="grid", effort=5, resume=True)
    assert again.layers == found.layers
    assert again.cost == found.cost


def test_the_cost_counts_what_a_serial_loop_would_have_run(run: RunResult) -> None:
    search = run.cost.search
    assert search is not None
    assert search.candidates == sum(layer.scored for layer in run.layers)
    assert search.dropped == sum(layer.dropped for layer in run.layers)
    assert search.serial_forwards == 24 * search.candidates
    assert 0 < search.int8_forwards < search.serial_forwards
    assert search.int8_forwards < run.cost.int8_forwards


def test_calibrate_has_no_layers_and_no_cost_of_a_search(model: Path, many: Path, tmp_path: Path) -> None:
    found = calibrate(model, many, tmp_path / "run", samples=8)
    assert found.layers == ()
    assert found.cost.search is None
    assert "layers" not in read_json(tmp_path / "run" / "metrics.json")


def test_effort_is_what_a_search_may_cost(model: Path, data: Path, tmp_path: Path) -> None:
    costs, scored = [], []
    for effort in (1, 3, 5):
        found = tune(model, data, tmp_path / str(effort), samples=8, tune_samples=8, effort=effort)
        costs.append(found.cost.int8_forwards)
        scored.append(sum(note["scored"] for note in journal_notes(found.out)))
    assert costs[0] < costs[1] <= costs[2]
    assert scored[0] == 0 < scored[1] <= scored[2]


def test_layers_that_are_not_searched_keep_their_thresholds(model: Path, many: Path, tmp_path: Path) -> None:
    chosen = tune(model, many, tmp_path / "run", layers=("second",))
    assert chosen.tuning is not None
    start = read_json(tmp_path / "run" / "thresholds.calibrated.json")["tensors"]
    changed = {name for name, row in thresholds(tmp_path / "run").items() if row != start[name]}
    assert changed <= {"second", *(name for name, row in start.items() if row["tied_to"] == "second")}


@pytest.mark.parametrize(("strategy", "tuned_on"), [("default", 10), ("grid", 20)])
def test_half_of_few_samples_are_left_to_confirm_by(
    strategy: str, tuned_on: int, model: Path, many: Path, tmp_path: Path
) -> None:
    few = {"samples": 20, "effort": 1, "strategy": strategy, "executor": "local"}
    found = distq.tune(model=model, data=many, out=tmp_path / "run", **few)
    assert found.tuning is not None
    assert found.tuning.images == tuned_on
