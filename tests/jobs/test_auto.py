"""``distq auto``: the cheapest network that meets a goal, how it is found, and what is left to read."""

from __future__ import annotations

import csv
import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from budget_networks import one_bad_layer, one_wide_tensor
from job_helpers import bits, read_json, samples, three_layers, use_watched, write_model

import distq
from distq.cli.app import invoke
from distq.errors import InterruptedRun, UsageError
from distq.run.results import RunResult


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("auto")
    write_model(folder / "bad.onnx", one_bad_layer())
    write_model(folder / "wide.onnx", one_wide_tensor())
    write_model(folder / "three.onnx", three_layers())
    np.save(folder / "data.npy", samples(24))
    return folder


OPTIONS: dict[str, Any] = {"samples": 16, "method": "max", "equalize": False, "effort": 1}
"""Without equalization and clipping, which mend a wide tensor by themselves."""


def auto(place: Path, name: str, out: Path, goal: str, **options: Any) -> RunResult:
    given = {**OPTIONS, "executor": "local", **options}
    return distq.auto(model=place / f"{name}.onnx", data=place / "data.npy", out=out, goal=goal, **given)


@pytest.fixture(scope="module")
def bad(place: Path, tmp_path_factory: pytest.TempPathFactory) -> RunResult:
    return auto(place, "bad", tmp_path_factory.mktemp("bad") / "run", "sqnr:30")


def test_a_goal_that_int8_meets_needs_nothing_else(place: Path, tmp_path: Path) -> None:
    found = auto(place, "three", tmp_path / "run", "sqnr:10")
    assert found.auto is not None
    assert [network.name for network in found.auto.tried] == ["INT8"]
    assert found.auto.answer.layers == 0
    assert bits(tmp_path / "run") == bits(_calibrated(place, "three", tmp_path / "calibrated"))


def _calibrated(place: Path, name: str, out: Path) -> Path:
    made = distq.calibrate(
        model=place / f"{name}.onnx",
        data=place / "data.npy",
        out=out,
        samples=16,
        method="max",
        executor="local",
    )
    return made.out


@pytest.mark.parametrize(("target", "cost"), [("ort", "macs"), ("openvino", "layers")])
def test_the_one_bad_layer_stays_float_and_nothing_else(
    place: Path, tmp_path: Path, target: str, cost: str
) -> None:
    found = auto(place, "bad", tmp_path / "run", "sqnr:30", target=target, cost=cost)
    assert found.auto is not None
    assert found.auto.reached
    assert found.auto.answer.float_layers == ("bad",)
    assert found.auto.answer.wide_layers == ()
    assert found.tuning is not None
    assert found.tuning.after is not None
    assert found.tuning.after.sqnr_db == pytest.approx(found.auto.answer.reading, rel=1e-12)
    assert found.tuning.after.sqnr_db >= 30 > found.tuning.before.sqnr_db


def test_a_tensor_that_is_read_by_much_gets_16_bits_where_floats_would_cost_more(
    place: Path, tmp_path: Path
) -> None:
    found = auto(place, "wide", tmp_path / "run", "sqnr:28", cost="layers")
    assert found.auto is not None
    assert found.auto.reached
    cheaper = [n for n in found.auto.tried if n.met and n.layers < found.auto.answer.layers]
    assert not cheaper


def test_a_stricter_goal_costs_more(place: Path, tmp_path: Path, bad: RunResult) -> None:
    strict = auto(place, "bad", tmp_path / "run", "sqnr:33")
    assert strict.auto is not None
    assert bad.auto is not None
    assert strict.auto.reached
    assert strict.auto.answer.macs > bad.auto.answer.macs


def test_the_reason_names_the_layer_and_what_it_would_leave_in_8_bits(bad: RunResult) -> None:
    assert bad.auto is not None
    (reason,) = bad.auto.reasons
    assert (reason.name, reason.kind) == ("bad", "float")
    assert reason.without_sqnr_db is not None
    assert reason.without_sqnr_db < 10
    assert any(layer.name == "bad" for layer in bad.float_layers)


@pytest.mark.parametrize(("goal", "effort"), [("sqnr:30", 3), ("sqnr:33", 1)])
def test_the_job_file_makes_the_same_bits_without_auto(
    place: Path, tmp_path: Path, goal: str, effort: int
) -> None:
    found = auto(place, "bad", tmp_path / "run", goal, effort=effort, method="auto")
    assert invoke(["run", str(found.out / "chosen.yaml"), "--quiet"]) == 0
    assert bits(found.out / "chosen") == bits(found.out)


def test_a_network_whose_thresholds_were_searched_is_made_again_by_tune(place: Path, tmp_path: Path) -> None:
    options = {"effort": 3, "method": "max", "equalize": True}
    plain = auto(place, "three", tmp_path / "plain", "sqnr:10")
    assert plain.auto is not None
    assert plain.auto.answer.reading is not None
    goal = f"sqnr:{plain.auto.answer.reading + 1:.2f}"
    found = auto(place, "three", tmp_path / "run", goal, **options)
    assert found.auto is not None
    assert found.auto.command == "tune"
    assert found.auto.answer.layers == 0
    assert invoke(["run", str(found.out / "chosen.yaml"), "--quiet"]) == 0
    assert bits(found.out / "chosen") == bits(found.out)


def test_the_files_say_what_was_tried(bad: RunResult) -> None:
    assert bad.auto is not None
    rows = list(csv.DictReader(io.StringIO((bad.out / "pareto.csv").read_text())))
    assert {row["network"] for row in rows} == {network.name for network in bad.auto.tried}
    (chosen,) = [row for row in rows if row["chosen"] == "1"]
    assert chosen["meets"] == "1"
    assert chosen["pareto"] == "1"
    costs = [float(row["macs_not_int8"]) for row in rows]
    assert costs == sorted(costs)
    assert "bad_Conv F16" in (bad.out / "qtable.txt").read_text()
    assert read_json(bad.out / "metrics.json")["auto"]["chosen"] == bad.auto.chosen
    assert {"chosen.yaml", "pareto.csv", "qtable.txt"} <= {path.name for path in bad.files}


def test_far_fewer_forwards_than_all_combinations(bad: RunResult) -> None:
    parts = len(read_json(bad.out / "thresholds.json")["tensors"]) + 3
    every_combination = 2**parts * 16
    assert bad.cost.int8_forwards < every_combination / 10


def test_a_goal_out_of_reach_ends_with_the_closest_and_what_is_in_the_way(
    place: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    found = auto(place, "bad", tmp_path / "run", "sqnr:150")
    assert found.auto is not None
    assert not found.auto.reached
    assert found.auto.obstacles
    readings = [n.reading for n in found.auto.tried if n.reading is not None]
    assert found.auto.answer.reading == max(readings)
    arguments = ["--data", str(place / "data.npy"), "--samples", "16", "--executor", "local", "--quiet"]
    arguments += ["--method", "max", "--effort", "1", "--out", str(tmp_path / "command")]
    code = invoke(["auto", str(place / "bad.onnx"), "--goal", "sqnr:150", *arguments])
    assert code == 3
    said = capsys.readouterr().err.strip().splitlines()
    assert said[-1].startswith("distq: --goal sqnr:150 was not reached: ")
    assert any(line.startswith("in the way: ") for line in said)
    assert max(map(len, said)) <= 80
    assert (tmp_path / "command" / "model.int8.onnx").is_file()


def test_interrupted_and_resumed_it_runs_nothing_twice_and_finds_the_same(
    place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    every: list[str] = []
    use_watched(monkeypatch, every)
    whole = auto(place, "wide", tmp_path / "whole", "sqnr:30")
    for part in (0.5, 0.9):
        out, before, after = tmp_path / str(part), list[str](), list[str]()
        use_watched(monkeypatch, before, int(part * len(every)))
        with pytest.raises(InterruptedRun):
            auto(place, "wide", out, "sqnr:30")
        use_watched(monkeypatch, after)
        found = auto(place, "wide", out, "sqnr:30", resume=True)
        assert before + after == every
        assert bits(out) == bits(tmp_path / "whole")
        assert found.auto == whole.auto


@pytest.mark.parametrize(
    ("field", "other"), [("goal", "sqnr:31"), ("cost", "layers"), ("tries", ["method=kl"])]
)
def test_another_goal_or_cost_is_another_job(bad: RunResult, place: Path, field: str, other: Any) -> None:
    with pytest.raises(UsageError, match=f"holds another job: its {field} is"):
        auto(place, "bad", bad.out, **{"goal": "sqnr:30", field: other}, resume=True)
    assert auto(place, "bad", bad.out, "sqnr:30", resume=True, time="5m").auto == bad.auto


def test_without_time_left_it_ends_with_the_best_so_far(place: Path, tmp_path: Path) -> None:
    found = auto(place, "bad", tmp_path / "run", "sqnr:30", time="0s")
    assert found.auto is not None
    assert not found.auto.complete
    assert not found.auto.reached
    assert [network.name for network in found.auto.tried] == ["INT8"]
    assert "--time 0s was over" in found.auto.obstacles[0]


def test_combinations_by_hand_are_tried_exactly(place: Path, tmp_path: Path) -> None:
    tries = "per-tensor; method=kl\nfloat-layers=bad\nint16-layers=silenced; no-bias-correction"
    found = auto(place, "bad", tmp_path / "run", "sqnr:30", tries=tries)
    assert found.auto is not None
    assert [network.name for network in found.auto.tried] == ["INT8", *tries.splitlines()]
    assert found.auto.chosen == "float-layers=bad"
    first = found.auto.tried[1]
    assert first.options == {"per_tensor_weights": True, "method": "kl"}
    assert invoke(["run", str(found.out / "chosen.yaml"), "--quiet"]) == 0
    assert bits(found.out / "chosen") == bits(found.out)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (";", r"--try .;. says nothing"),
        ("metod=kl", r"--try metod=kl: unknown option metod: did you mean method\?"),
        ("method", r"--try method: give method=VALUE"),
        ("per-channel=1", r"--try per-channel=1: give per-channel alone"),
        ("method=best", r"--try method=best: method best: input should be"),
        ("int16-budget=2; strategy=bitmain", r"--int16-budget and --float-budget need --strategy default"),
        ("float-layers=bda", r"--try float-layers=bda: --float-layers names bda.*the nearest is bad"),
        ("tune; layers=frist", r"--try tune; layers=frist: --layers names frist.*the nearest is first"),
        ("method=kl; method=mse", r"--try .*: method=kl and method=mse contradict each other"),
        ("per-channel; per-tensor", r"per-channel and per-tensor contradict each other: leave one out"),
        ("float-layers=bad; float-layers=y", r"float-layers=bad and float-layers=y contradict each other"),
    ],
)
def test_a_wrong_combination_is_refused_before_any_is_tried(
    place: Path, tmp_path: Path, text: str, message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    work: list[str] = []
    use_watched(monkeypatch, work)
    with pytest.raises(UsageError, match=message):
        auto(place, "bad", tmp_path / "run", "sqnr:30", tries=["method=kl", text])
    assert not (tmp_path / "run").exists()
    assert not work


def test_a_combination_that_cannot_be_made_ends_none_of_the_others(place: Path, tmp_path: Path) -> None:
    tries = ["float-budget=9", "float-layers=first,bad,y; int16-layers=x", "float-layers=bad"]
    found = auto(place, "bad", tmp_path / "run", "sqnr:30", tries=tries).auto
    assert found is not None
    assert [network.name for network in found.tried] == ["INT8", "float-layers=bad"]
    assert found.reached
    assert not found.complete
    assert "leaves none of the model" in found.not_made["float-budget=9"]
    assert "--int16-layers names x" in found.not_made[tries[1]]
    with pytest.raises(UsageError, match="leaves none of the model"):
        auto(place, "bad", tmp_path / "none", "sqnr:30", tries=tries[:1])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"goal": "psnr:30"}, "goal psnr:30: input should be sqnr:DECIBELS, top1:POINTS"),
        ({"goal": "sqnr:30", "time": "soon"}, "time soon: input should be a number of seconds"),
        ({"goal": "sqnr:30", "float_budget": 2}, "are what auto chooses"),
        ({"goal": "sqnr:-3"}, "--goal sqnr:-3 is met by noise: give the decibels to reach, such as sqnr:30"),
        ({"goal": "top1:+0.5"}, "--goal top1:.0.5 asks for more than float has: top1:-0.5 allows that loss"),
        ({"goal": "top1:-1"}, "--goal top1 needs labels"),
        ({"goal": "score:-1"}, "--goal score is of a measure of yours: give --measure FILE.py"),
        ({"goal": "shared:-1"}, "--goal shared:-1: give the share that is to stay, such as shared:0.95"),
        ({"goal": "lines:1.5"}, "--goal lines:1.5: give the share that is to stay, such as lines:0.95"),
        ({"goal": "score:-1", "measure": "odd"}, "no measure is called 'odd'"),
    ],
)
def test_wrong_options_are_refused_before_any_work(
    place: Path, tmp_path: Path, options: dict[str, Any], message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    work: list[str] = []
    use_watched(monkeypatch, work)
    with pytest.raises(UsageError, match=message):
        auto(place, "bad", tmp_path / "run", **options)
    assert not (tmp_path / "run").exists()
    assert not work


def test_a_job_file_may_be_of_auto(place: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    job = tmp_path / "job.yaml"
    lines = ["command: auto", f"model: {place / 'bad.onnx'}", f"data: {place / 'data.npy'}", "goal: sqnr:30"]
    lines += ["samples: 16", "method: max", "try: ['float-layers=bad']", "time: 600", "executor: local"]
    job.write_text("\n".join([*lines, "out: run", ""]))
    assert invoke(["run", str(job)]) == 0
    shown = capsys.readouterr().out
    assert "float-layers=bad meets sqnr:30" in shown


def test_right_answers_as_the_goal(place: Path, tmp_path: Path) -> None:
    """Labels are what float answers, so that all it has is lost by INT8."""
    from job_helpers import Reference  # noqa: PLC0415  # here alone

    exact = Reference(place / "three.onnx")
    images = samples(24)
    labels = tmp_path / "labels.txt"
    labels.write_text("".join(f"{i} {int(exact(image).argmax())}\n" for i, image in enumerate(images)))
    found = auto(place, "three", tmp_path / "run", "top1:0", labels=labels)
    assert found.auto is not None
    assert found.auto.measure == "top-1 points"
    assert found.auto.reached
    assert found.tuning is not None
    assert found.tuning.after is not None
    assert found.tuning.after.top1 == 1.0
    (warning,) = [text for text in found.warnings if "so few" in text]
    assert "--goal top1:0 is met on 16 samples" in warning


def test_the_figure_of_a_users_own_measure_as_the_goal(place: Path, tmp_path: Path) -> None:
    file = tmp_path / "peaks.py"
    file.write_text(
        "import numpy as np\n"
        "needs_float, higher_is_better = True, False\n"
        "def score(outputs, sample):\n"
        "    (y,), (exact,) = outputs.values(), sample.float_outputs.values()\n"
        "    return float(np.abs(y - exact).max() / np.abs(exact).max())\n"
    )
    options = {"measure": str(file), "allow_code": True}
    found = auto(place, "bad", tmp_path / "run", "score:-0.1", **options)
    assert found.auto is not None
    assert found.auto.measure == "peaks"
    assert found.auto.reached
    assert found.auto.answer.float_layers == ("bad",)
    assert found.auto.tried[0].reading is not None
    assert found.auto.answer.reading is not None
    assert found.auto.tried[0].reading < -0.1 <= found.auto.answer.reading


def test_a_figure_that_differs_much_by_sample_is_told_to_be_of_few(place: Path, tmp_path: Path) -> None:
    file = tmp_path / "halves.py"
    file.write_text(
        "needs_float, higher_is_better = True, False\n"
        "def score(outputs, sample):\n"
        "    return float(sample.index % 2)\n"
    )
    warnings = []
    for goal in ("score:-0.6", "score:-0.8"):
        found = auto(place, "three", tmp_path / goal, goal, measure=str(file), allow_code=True)
        assert found.auto is not None
        assert found.auto.reached
        warnings += [text for text in found.warnings if "so few" in text]
    (few,) = warnings
    assert "--goal score:-0.6 is met on 16 samples, but so few cannot tell it from -0." in few


def test_latency_is_measured_of_each_network(place: Path, tmp_path: Path) -> None:
    found = auto(place, "bad", tmp_path / "run", "sqnr:30", cost="latency")
    assert found.auto is not None
    assert found.auto.reached
    times = {n.name: n.latency_ms for n in found.auto.tried if n.met and n.latency_ms is not None}
    assert found.auto.chosen == min(times, key=lambda name: times[name])
    again = auto(place, "bad", tmp_path / "run", "sqnr:30", cost="latency", resume=True)
    assert again.auto == found.auto
