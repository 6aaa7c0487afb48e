"""Ctrl-C in the middle of a job, and ``--resume``: nothing is computed twice, and no bit differs."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from job_helpers import BITS, bits, read_json, samples, tree, use_watched, write_photos

import distq
from distq.cli.app import invoke
from distq.engine.progress import SilentReporter
from distq.errors import DataError, InterruptedRun, UsageError
from distq.run.results import RunResult

Watch = Callable[..., list[str]]

MEASURED_AT_A_TIME = 3
"""Units that measure what a layer reads: one for each form of the network that is corrected."""


def tune(model: Path, data: Path, out: Path, **options: Any) -> RunResult:
    given = {"executor": "local", "samples": 8, "tune_samples": 6, "shard_size": 4, **options}
    return distq.tune(model=model, data=data, out=out, **given)


def only_transient(keys: set[str]) -> bool:
    """Whether what ran twice only measured the layer that was being corrected."""
    return all(key.startswith("transient ") for key in keys) and len(keys) <= MEASURED_AT_A_TIME


@pytest.fixture(scope="module")
def whole(model: Path, data: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[RunResult, list[str]]:
    """A run that nobody interrupted, and the units it ran."""
    ran: list[str] = []
    with pytest.MonkeyPatch.context() as patch:
        use_watched(patch, ran)
        return tune(model, data, tmp_path_factory.mktemp("whole") / "run"), ran


def test_a_run_computes_nothing_twice(whole: tuple[RunResult, list[str]]) -> None:
    result, ran = whole
    assert len(set(ran)) == len(ran) == read_json(result.out / "run.json")["units"]["ran"]


@pytest.mark.parametrize("part", [0.0, 0.05, 0.2, 0.4, 0.6, 0.8, 0.97])
def test_an_interrupted_run_goes_on_where_it_was(
    *, part: float, whole: tuple[RunResult, list[str]], model: Path, data: Path, tmp_path: Path, watch: Watch
) -> None:
    result, every = whole
    before = watch(stop_after=int(part * len(every)))
    with pytest.raises(InterruptedRun, match="--resume"):
        tune(model, data, tmp_path / "run")
    after = watch()
    resumed = tune(model, data, tmp_path / "run", resume=True)
    assert set(before + after) == set(every)
    assert only_transient(set(before) & set(after))
    assert bits(resumed.out) == bits(result.out)
    assert (resumed.holdout, resumed.tuning) == (result.holdout, result.tuning)
    units = read_json(resumed.out / "run.json")["units"]
    assert units["ran"] == len(after)
    assert units["recalled"] >= len(before) - sum(key.startswith("transient") for key in before)


def test_it_may_be_interrupted_again_and_again(
    whole: tuple[RunResult, list[str]], model: Path, data: Path, tmp_path: Path, watch: Watch
) -> None:
    result, every = whole
    ran: list[str] = []
    for number in range(len(every)):
        some = watch(stop_after=9)
        try:
            tune(model, data, tmp_path / "run", resume=number > 0)
            break
        except InterruptedRun:
            continue
        finally:
            ran += some
    assert set(ran) == set(every)
    assert all(key.startswith("transient ") for key in ran if ran.count(key) > 1)
    assert bits(tmp_path / "run") == bits(result.out)


def test_a_killed_process_leaves_a_torn_line_and_loses_one_unit(
    whole: tuple[RunResult, list[str]], model: Path, data: Path, tmp_path: Path, watch: Watch
) -> None:
    result, every = whole
    before = watch(stop_after=len(every) // 2)
    with pytest.raises(InterruptedRun):
        tune(model, data, tmp_path / "run")
    journal = tmp_path / "run" / "journal.jsonl"
    os.truncate(journal, journal.stat().st_size - 7)
    (journal.parent / ".thresholds.json.k3j2h1").write_bytes(b"half of it")
    after = watch()
    tune(model, data, tmp_path / "run", resume=True)
    assert len(before) + len(after) <= len(every) + 1 + MEASURED_AT_A_TIME
    assert bits(tmp_path / "run") == bits(result.out)
    assert set(tree(tmp_path / "run")) == set(tree(result.out))


def test_where_and_how_a_job_runs_may_change_on_resume(
    whole: tuple[RunResult, list[str]], model: Path, data: Path, tmp_path: Path, watch: Watch
) -> None:
    result, every = whole
    watch(stop_after=len(every) // 2)
    with pytest.raises(InterruptedRun):
        tune(model, data, tmp_path / "run")
    watch()
    tune(model, data, tmp_path / "run", resume=True, shard_size=3, workers=1, device="auto")
    assert bits(tmp_path / "run") == bits(result.out)


def test_resume_of_a_finished_run_gives_its_result_and_runs_nothing(
    whole: tuple[RunResult, list[str]], model: Path, data: Path, watch: Watch
) -> None:
    result, _ = whole
    before = tree(result.out)
    ran = watch()
    assert tune(model, data, result.out, resume=True) == result
    assert ran == []
    assert tree(result.out) == before


def test_resume_of_a_finished_run_removes_what_a_kill_at_its_very_end_left(
    model: Path, data: Path, tmp_path: Path
) -> None:
    out = tune(model, data, tmp_path / "run").out
    before = tree(out)
    (out / "parts").mkdir()
    (out / "parts" / "a1.npz").write_bytes(b"a large result")
    (out / ".model.int8.onnx.x1").write_bytes(b"half")
    (out / "best_so_far").mkdir()
    (out / "best_so_far" / "a1.onnx").write_bytes(b"its network")
    tune(model, data, out, resume=True)
    assert tree(out) == before


@pytest.mark.parametrize(
    ("field", "options"),
    [
        ("method", {"method": "mse"}),
        ("seed", {"seed": 1}),
        ("layers", {"layers": "first"}),
        ("tune_samples", {"tune_samples": 5}),
        ("bias_correction", {"bias_correction": False}),
    ],
)
def test_resume_of_another_job_names_the_field(
    field: str,
    options: dict[str, Any],
    whole: tuple[RunResult, list[str]],
    model: Path,
    data: Path,
) -> None:
    result, _ = whole
    before = tree(result.out)
    with pytest.raises(UsageError, match=rf"holds another job: its {field} is .*; give another --out"):
        tune(model, data, result.out, resume=True, **options)
    assert tree(result.out) == before


def test_other_data_under_the_same_name_is_another_job(
    whole: tuple[RunResult, list[str]], model: Path, tmp_path: Path
) -> None:
    result, _ = whole
    other = tmp_path / "data.npy"
    np.save(other, samples(seed=1))
    with pytest.raises(UsageError, match="its data is"):
        tune(model, other, result.out, resume=True)


def test_a_run_that_exists_is_refused_and_left_alone(
    whole: tuple[RunResult, list[str]], model: Path, data: Path
) -> None:
    result, _ = whole
    before = tree(result.out)
    with pytest.raises(UsageError, match=r"exists: give another --out, or --resume"):
        tune(model, data, result.out)
    assert tree(result.out) == before


def test_input_that_fails_on_resume_leaves_the_run_as_it_is(
    model: Path, tmp_path: Path, watch: Watch
) -> None:
    photos = write_photos(tmp_path / "photos", 12)
    (photos / "5.png").write_bytes(b"damaged")
    watch(stop_after=1)
    with pytest.raises(InterruptedRun):
        tune(model, photos, tmp_path / "run")
    before = tree(tmp_path / "run")
    watch()
    with pytest.raises(DataError, match=r"5\.png"):
        tune(model, photos, tmp_path / "run", resume=True)
    after = tree(tmp_path / "run")
    assert set(after) >= set(before)
    assert after["run.json"] == before["run.json"]


def test_input_that_fails_in_an_empty_folder_leaves_it_empty(model: Path, tmp_path: Path) -> None:
    values = samples()
    values[3, 0, 0, 0] = np.nan
    np.save(tmp_path / "data.npy", values)
    (tmp_path / "run").mkdir()
    with pytest.raises(DataError, match="sample 3 holds NaN"):
        tune(model, tmp_path / "data.npy", tmp_path / "run")
    assert tree(tmp_path / "run") == {}
    with pytest.raises(DataError, match="sample 3 holds NaN"):
        tune(model, tmp_path / "data.npy", tmp_path / "new")
    assert not (tmp_path / "new").exists()


def test_ctrl_c_between_units_is_no_error_either(model: Path, data: Path, tmp_path: Path) -> None:
    class Impatient(SilentReporter):
        def line(self, text: str) -> None:
            del text
            raise KeyboardInterrupt

    with pytest.raises(InterruptedRun):
        tune(model, data, tmp_path / "run", reporter=Impatient())
    tune(model, data, tmp_path / "run", resume=True)
    assert set(BITS) <= set(tree(tmp_path / "run"))


def test_the_command_exits_130_and_says_how_to_go_on(
    model: Path, data: Path, tmp_path: Path, watch: Watch, capsys: pytest.CaptureFixture[str]
) -> None:
    line = ["tune", str(model), "--data", str(data), "--out", str(tmp_path / "run"), "--quiet"]
    watch(stop_after=4)
    assert invoke(line) == 130
    assert capsys.readouterr().err == "distq: interrupted: continue with the same command and --resume\n"
    ran = watch()
    assert invoke([*line, "--resume"]) == 0
    assert ran
    ran.clear()
    assert invoke([*line[:-1], "--resume"]) == 0
    assert not ran
    assert "model.int8.onnx" in capsys.readouterr().out
