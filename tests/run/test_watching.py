"""What is shown of a run that goes on is what its journal says, and reading it disturbs nothing."""

from __future__ import annotations

import os
import platform
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from job_helpers import samples, three_layers, tree, use_watched, write_model

import distq
from distq.cli.app import invoke
from distq.engine.journal import Journal
from distq.errors import InterruptedRun, UsageError
from distq.jobs.watch import watch_run
from distq.run.resuming import resuming
from distq.run.rundir import RunDir
from distq.run.watching import Status, Watcher

NOW = 1_800_000_000.0


def watcher_of(folder: Path) -> Watcher:
    return Watcher(folder, lambda: NOW)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A run that has just begun."""
    RunDir(tmp_path / "run").claim({"command": "tune"}, resume=False)
    return tmp_path / "run"


def said(seconds_ago: float = 0, **fields: Any) -> dict[str, Any]:
    """A status as a run writes it."""
    now = NOW - seconds_ago
    stage = {"stage": "search", "total": 40, "unit": "layers", "done": 10, "since": now - 20}
    run = {
        "command": "tune",
        "model": "m.onnx",
        "pid": os.getpid(),
        "host": platform.node(),
        "began": now - 60,
    }
    return {
        "time": now,
        "state": "working",
        **run,
        **stage,
        "workers": [["a, process 1", "score x"]],
        **fields,
    }


def test_stage_rate_and_time_left_follow_from_what_the_run_says(folder: Path) -> None:
    watcher = watcher_of(folder)
    assert watcher.look() == Status(folder, "starting")
    with Journal(folder / "journal.jsonl") as journal:
        journal.status(**said(of_workers=1, warnings=1, warning="a sample"))
        found = watcher.look()
    assert (found.state, found.stage, found.done, found.total, found.unit) == (
        "working",
        "search",
        10,
        40,
        "layers",
    )
    assert found.rate == pytest.approx(0.5)
    assert found.left_s == pytest.approx(60)
    assert found.elapsed_s == 60
    assert [(w.where, w.doing) for w in found.workers] == [("a, process 1", "score x")]
    assert (found.warnings, found.warning) == (1, "a sample")


def test_the_rate_is_that_of_the_last_minute_of_which_the_run_says_where_it_began(folder: Path) -> None:
    with Journal(folder / "journal.jsonl") as journal:
        journal.status(**said(since=NOW - 1000, done=10, before=(NOW - 50, 5)))
    assert watcher_of(folder).look().rate == pytest.approx(0.1)


def test_the_time_left_is_what_the_run_says_where_it_does(folder: Path) -> None:
    with Journal(folder / "journal.jsonl") as journal:
        journal.status(**said(ends=NOW + 25))
    assert watcher_of(folder).look().left_s == pytest.approx(25)


@pytest.mark.parametrize(
    ("fields", "state"),
    [
        ({"state": "finished"}, "finished"),
        ({"state": "interrupted"}, "interrupted"),
        ({"state": "failed: no room"}, "failed"),
        ({"seconds_ago": 100}, "silent"),
        ({"seconds_ago": 100, "pid": 2**22 + 1}, "gone"),
        ({"seconds_ago": 100, "pid": 2**22 + 1, "host": "another"}, "silent"),
    ],
)
def test_it_is_known_how_a_run_ended(folder: Path, fields: dict[str, Any], state: str) -> None:
    with Journal(folder / "journal.jsonl") as journal:
        journal.status(**said(**fields))
    found = watcher_of(folder).look()
    assert found.state == state
    assert found.over == (state != "silent")
    assert found.reason == ("no room" if state == "failed" else "")


@pytest.mark.parametrize("ended", [{"state": "interrupted"}, {"seconds_ago": 100, "pid": 2**22 + 1}])
def test_a_run_that_is_continued_is_not_over_while_its_data_is_loaded(
    folder: Path, ended: dict[str, Any]
) -> None:
    with Journal(folder / "journal.jsonl") as journal:
        journal.status(**said(**ended))
    watcher, before = watcher_of(folder), tree(folder)
    assert watcher.look().over
    with resuming(RunDir(folder), resume=True):
        found = watcher.look()
        assert (found.state, found.over) == ("starting", False)
    assert watcher.look().over
    assert tree(folder) == before


def test_a_process_that_was_killed_at_it_continues_nothing(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Journal(folder / "journal.jsonl") as journal:
        journal.status(**said(state="interrupted"))
    with resuming(RunDir(folder), resume=True):
        with monkeypatch.context() as patch:
            patch.setattr("distq.run.resuming.is_alive", lambda _: False)
            assert watcher_of(folder).look().state == "interrupted"
        RunDir(folder).remove_leftovers()
        assert watcher_of(folder).look().state == "interrupted"


def test_a_run_that_ended_before_it_could_say_so_has_finished(folder: Path) -> None:
    with Journal(folder / "journal.jsonl") as journal:
        journal.status(**said(seconds_ago=100, host="another"))
    assert watcher_of(folder).look().state == "silent"
    (folder / "metrics.json").write_text("{}")
    assert watcher_of(folder).look().state == "finished"


def test_a_run_of_a_version_that_says_nothing_is_silent(folder: Path) -> None:
    with Journal(folder / "journal.jsonl") as journal:
        journal.note("layer", name="conv")
    os.utime(folder / "journal.jsonl", (NOW, NOW))
    assert watcher_of(folder).look().state == "starting"
    os.utime(folder / "journal.jsonl", (NOW - 1000, NOW - 1000))
    look = watcher_of(folder).look()
    assert (look.state, look.over) == ("silent", False)
    assert look.silent_s == 1000


def test_python_is_told_at_once_what_is_wrong(folder: Path) -> None:
    with pytest.raises(UsageError, match="every -1: "):
        distq.watch(folder, every=-1)
    with pytest.raises(UsageError, match="http://HEAD:8265"):
        list(distq.watch("distq-1a2b3c4d5e6f"))


def test_the_best_so_far_and_the_last_decisions_are_those_of_the_journal(folder: Path) -> None:
    watcher = watcher_of(folder)
    layer = {"start": 2.0, "seconds": 0.1, "reason": "smaller diff", "scored": 4, "accepted": True}
    with Journal(folder / "journal.jsonl") as journal:
        journal.status(**said())
        journal.note("network", stage="calibrated", key="k", float_layers=[])
        journal.note("start", chosen="mse", names=["max", "mse"], diffs=[0.01, 0.001])
        assert watcher.look().best is not None
        journal.note("moved", of="k", name="conv", row={}, constants="")
        journal.note("moved", of="another", name="relu", row={}, constants="")
        journal.note("layer", name="conv", threshold=1.5, before=0.001, after=0.0001, **layer)
        found = watcher.look()
    assert found.best is not None
    assert (found.best.stage, found.best.moved, found.best.reading) == ("calibrated", 1, "40.00 dB")
    assert found.decisions == ("start: mse, of 2", "2 -> 1.5, smaller diff, 4 scored: conv")


def test_a_line_that_is_half_written_comes_with_the_next_look(folder: Path) -> None:
    for done in (1, 2):  # of a run that was continued: the first line stays
        with Journal(folder / "journal.jsonl") as journal:
            journal.status(**said(done=done))
    whole = (folder / "journal.jsonl").read_bytes()
    (folder / "journal.jsonl").write_bytes(whole[:-9])
    watcher = watcher_of(folder)
    assert watcher.look().done == 1
    (folder / "journal.jsonl").write_bytes(whole)
    assert watcher.look().done == 2


def test_a_run_says_what_it_is_at_and_how_it_ended(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model, data = write_model(tmp_path / "three.onnx", three_layers()), tmp_path / "samples.npy"
    np.save(data, samples())
    options: dict[str, Any] = {"samples": 8, "tune_samples": 6, "executor": "local", "out": tmp_path / "run"}
    with pytest.MonkeyPatch.context() as patch:
        use_watched(patch, [], stop_after=9)
        with pytest.raises(InterruptedRun):
            distq.tune(model=model, data=data, **options)
    before = tree(tmp_path / "run")
    assert Watcher(tmp_path / "run").look().state == "interrupted"
    assert tree(tmp_path / "run") == before
    assert invoke(["watch", str(tmp_path / "run")]) == 3
    distq.tune(model=model, data=data, resume=True, **options)
    looks = list(watch_run(tmp_path / "run", 0.01))
    assert [look.state for look in looks] == ["finished"]
    (look,) = looks
    assert (look.command, look.model, look.done) == ("tune", str(model), look.total)
    capsys.readouterr()
    assert invoke(["watch", str(tmp_path / "run")]) == 0
    shown = capsys.readouterr().out
    assert shown.count("\n") == 1
    assert "has finished; best so far: " in shown
    assert invoke(["watch", str(tmp_path)]) == 2
    assert capsys.readouterr().err.count("\n") == 1
