"""``tune --time``: it ends in time with the best so far, and goes on where there is more time."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from job_helpers import bits, calibrate, read_json, samples
from wound_clock import Clock, Winding

from distq.cli.app import invoke
from distq.config import TuneOptions
from distq.engine.progress import SilentReporter
from distq.errors import UsageError
from distq.jobs.tune import tune as job
from distq.options import make_options
from distq.run.results import RunResult
from distq.run.time_limit import seconds_of

Tune = Callable[..., tuple[RunResult, float]]


@pytest.fixture
def tune(model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Tune:
    """Tune in ``run``, or another folder; gives the result, and the seconds by a clock that units wind."""
    np.save(tmp_path / "many.npy", samples(40))

    def tuned(time: str | None, out: str = "run", **options: Any) -> tuple[RunResult, float]:
        clock = Clock()
        monkeypatch.setattr("distq.run.open.open_executor", lambda *_: Winding(clock))
        given = {"samples": 24, "tune_samples": 16, "effort": 5, "shard_size": 4, "time": time, **options}
        files = {"model": model, "data": tmp_path / "many.npy", "out": tmp_path / out}
        found = job(make_options(TuneOptions, {**files, **given}), SilentReporter(), clock=clock)
        return found, clock.now

    return tuned


CALIBRATED = 19
"""Seconds that the network takes with the first method, and its report."""


def test_a_run_that_has_time_enough_is_the_same_to_the_bit(tune: Tune) -> None:
    whole, seconds = tune(None, "whole")
    found, _ = tune(f"{seconds + 40}s")
    assert bits(found.out) == bits(whole.out)
    assert found.ended is None
    assert "ended" not in read_json(found.out / "metrics.json")


def test_without_time_the_result_is_the_network_as_soon_as_it_is_calibrated(
    tune: Tune, model: Path, tmp_path: Path
) -> None:
    found, seconds = tune("0s")
    assert seconds == CALIBRATED
    assert found.ended is not None
    assert (found.ended.searched, found.ended.of) == (0, 3)
    assert found.ended.left_out == ("comparing methods", "choosing a start")
    own = calibrate(model, tmp_path / "many.npy", tmp_path / "own", samples=24, method="mse")
    assert bits(found.out) == bits(own.out)
    assert found.holdout is not None
    assert found.holdout.after == found.holdout.before
    (said,) = [warning for warning in found.warnings if "--time" in warning]
    assert said.startswith("--time 0s ended the run with the best so far (0 of 3 tensors are searched;")
    assert "--resume" in said


def test_it_ends_in_time_and_goes_on_with_more(tune: Tune) -> None:
    whole, _ = tune(None, "whole", equalize=False)
    found, seconds = tune("105s", equalize=False)
    assert seconds <= 105
    assert found.ended is not None
    assert found.ended.searched in {1, 2}
    # what it has is whole, and no worse than what it began with
    assert {path.name for path in found.files} == {path.name for path in whole.files}
    assert found.tuning is not None
    assert found.tuning.after is not None
    assert found.tuning.after.nmse <= found.tuning.before.nmse
    # the same time again changes nothing
    again, seconds = tune("105s", equalize=False, resume=True)
    assert again == found
    assert seconds == 0
    # a longer one goes on from there
    more, seconds = tune("140s", equalize=False, resume=True)
    assert seconds < 40
    assert more.ended is None
    assert bits(more.out) == bits(whole.out)


def test_a_budget_is_spent_before_thresholds_are_searched(tune: Tune) -> None:
    found, _ = tune("90s", int16_budget=1, equalize=False)
    assert found.ended is not None
    assert "spending the budget again" in found.ended.left_out
    assert "spending the budget" not in found.ended.left_out
    assert len(read_json(found.out / "run.json")["budget"]["int16"]) == 1


@pytest.mark.parametrize("strategy", ["grid", "bitmain"])
def test_other_strategies_end_in_time_too(tune: Tune, strategy: str) -> None:
    _, whole = tune(None, "whole", strategy=strategy, method="max", effort=1)
    limit = int(whole) - 3
    found, seconds = tune(f"{limit}s", strategy=strategy, method="max", effort=1)
    assert seconds <= limit
    assert found.ended is not None
    assert found.ended.searched < found.ended.of


@pytest.mark.parametrize("time", ["-5m", "1:30", "20min", "1h30m", "m", "1e3", "ten"])
def test_what_is_no_time_is_refused(time: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = str(tmp_path / "run")
    assert invoke(["tune", "net.onnx", "--data", "photos", "--out", out, f"--time={time}"]) == 2
    assert f"--time {time}: input should be a number of seconds" in capsys.readouterr().err


def test_a_time_is_in_seconds_unless_it_says_else() -> None:
    assert seconds_of("90") == seconds_of("90s") == seconds_of("1.5m") == seconds_of("0.025h")


def test_calibrate_has_no_time(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="unknown option time"):
        calibrate(tmp_path / "m.onnx", None, tmp_path / "run", time="5m")
