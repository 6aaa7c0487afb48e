"""The best network of a run that goes on can be taken out of it, and is what the run has."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest
from job_helpers import BITS, Reference, samples, three_layers, tree, use_watched, write_model

import distq
from distq.cli.app import invoke
from distq.engine.journal import Journal
from distq.errors import InterruptedRun, UsageError
from distq.run.best_so_far import keep_network, read_best_so_far
from distq.run.rundir import RunDir


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_model(tmp_path_factory.mktemp("model") / "three.onnx", three_layers())


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("data") / "samples.npy"
    np.save(path, samples())
    return path


def tune(model: Path, data: Path, out: Path, **options: Any) -> None:
    given = {"executor": "local", "samples": 8, "tune_samples": 6, "method": "max", **options}
    distq.tune(model=model, data=data, out=out, **given)


def stop_before_the_report(patch: pytest.MonkeyPatch) -> None:
    """End a run when its network is found and nothing is written yet."""

    def stop(*_: object) -> None:
        raise KeyboardInterrupt

    patch.setattr("distq.jobs.tune.finish", stop)


@pytest.mark.parametrize("correction", [True, False])
def test_at_the_end_of_a_search_it_is_what_the_run_exports(
    *, correction: bool, model: Path, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tune(model, data, tmp_path / "whole", bias_correction=correction)
    with monkeypatch.context() as patch:
        stop_before_the_report(patch)
        with pytest.raises(InterruptedRun):
            tune(model, data, tmp_path / "run", bias_correction=correction)
    before = tree(tmp_path / "run")
    result = distq.export(tmp_path / "run", out=tmp_path / "out", best_so_far=True)
    for name in BITS:
        assert (result.out / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()
    assert tree(tmp_path / "run") == before


def test_what_the_search_moved_is_in_it_before_the_search_ends(
    model: Path, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr("distq.stages.tuned.settle", _interrupt)
        with pytest.raises(InterruptedRun):
            tune(model, data, tmp_path / "run", strategy="bitmain", bias_correction=False)
    tune(model, data, tmp_path / "whole", strategy="bitmain", bias_correction=False)
    best = read_best_so_far(RunDir(tmp_path / "run"))
    assert best.moved
    assert best.model() == (tmp_path / "whole" / "model.int8.onnx").read_bytes()
    assert {name: best.table[name].method for name in best.moved} == dict.fromkeys(best.moved, "bitmain")
    assert {name for name in best.table if best.table[name] != best.calibrated[name]} == {*best.moved}


def test_what_a_search_moved_in_vain_is_not_in_it(
    model: Path, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(*given: object, better: object = None) -> object:
        del better
        return given[3] if given[2] == "search" else given[4]

    monkeypatch.setattr("distq.stages.tuned.confirmed", refused)
    stop_before_the_report(monkeypatch)
    for resume in (False, True):
        with pytest.raises(InterruptedRun):
            tune(model, data, tmp_path / "run", strategy="bitmain", bias_correction=False, resume=resume)
        best = read_best_so_far(RunDir(tmp_path / "run"))
        assert not best.moved
        assert best.table == best.calibrated
    with Journal(tmp_path / "run" / "journal.jsonl") as journal:
        assert journal.notes("moved"), "the search did move something"


def test_what_auto_moves_in_a_candidate_is_not_in_it(
    model: Path, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("distq.stages.tuned.settle", _interrupt)
    with pytest.raises(InterruptedRun):
        distq.auto(
            model=model,
            data=data,
            goal="sqnr:20",
            tries=("strategy=bitmain",),
            method="max",
            out=tmp_path / "run",
            executor="local",
            samples=8,
            bias_correction=False,
        )
    assert read_best_so_far(RunDir(tmp_path / "run")).stage == "INT8"
    with Journal(tmp_path / "run" / "journal.jsonl") as journal:
        assert journal.notes("layer")
        assert not journal.notes("moved")


def _interrupt(*_: object) -> None:
    raise KeyboardInterrupt


def test_a_half_written_last_line_and_a_resume_change_nothing(
    model: Path, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr("distq.stages.tuned.settle", _interrupt)
        for resume in (False, True):
            with pytest.raises(InterruptedRun):
                tune(model, data, tmp_path / "run", resume=resume)
            if not resume:
                first = read_best_so_far(RunDir(tmp_path / "run"))
    with (tmp_path / "run" / "journal.jsonl").open("ab") as journal:
        journal.write(b'{"crc32":"00000000","record":{"type":"no')
    assert read_best_so_far(RunDir(tmp_path / "run")).table == first.table
    tune(model, data, tmp_path / "run", resume=True)
    assert not (tmp_path / "run" / "best_so_far").exists()


def test_auto_gives_the_best_that_it_has_measured(
    model: Path, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("distq.jobs.auto.report_of", _interrupt)
    with pytest.raises(InterruptedRun):
        distq.auto(model=model, data=data, goal="sqnr:20", out=tmp_path / "run", executor="local", samples=8)
    distq.export(tmp_path / "run", out=tmp_path / "out", best_so_far=True)
    made = Reference(tmp_path / "out" / "model.int8.onnx")
    assert made(samples()[0]).shape == Reference(model)(samples()[0]).shape


def test_a_finished_run_is_exported_with_and_without(model: Path, data: Path, tmp_path: Path) -> None:
    tune(model, data, tmp_path / "run")
    for best_so_far in (False, True):
        result = distq.export(tmp_path / "run", out=tmp_path / "out", best_so_far=best_so_far)
        assert result.stage == "finished"
        for path in result.files:
            assert path.read_bytes() == (tmp_path / "run" / path.name).read_bytes()
    onnxruntime.InferenceSession(tmp_path / "out" / "model.int8.onnx")


def test_what_cannot_be_exported_is_said_in_one_line(
    model: Path,
    data: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert invoke(["export", str(tmp_path), "--out", str(tmp_path / "out")]) == 2
    assert "is not a run of distq" in capsys.readouterr().err
    with monkeypatch.context() as patch:
        use_watched(patch, [], stop_after=1)
        with pytest.raises(InterruptedRun):
            tune(model, data, tmp_path / "run")
    with pytest.raises(UsageError, match="--best-so-far"):
        distq.export(tmp_path / "run", out=tmp_path / "out")
    with pytest.raises(UsageError, match="no network yet"):
        distq.export(tmp_path / "run", out=tmp_path / "out", best_so_far=True)
    (tmp_path / "run" / "journal.jsonl").unlink()
    with pytest.raises(UsageError, match="no network yet"):
        distq.export(tmp_path / "run", out=tmp_path / "out", best_so_far=True)
    with pytest.raises(UsageError, match="other files"):
        distq.export(tmp_path / "run", out=tmp_path, best_so_far=True)
    assert not (tmp_path / "out").exists()


def test_a_network_that_is_the_best_already_is_not_made_again(tmp_path: Path) -> None:
    first, second = (three_layers(seed).SerializeToString() for seed in (1, 2))
    made = []
    with Journal(tmp_path / "journal.jsonl") as journal:
        for exported in (first, first, second, second):
            keep_network(
                RunDir(tmp_path),
                journal,
                exported,
                b"{}",
                equalized=lambda: made.append(1),
                stage="INT8",
                float_layers=(),
            )
        assert len(journal.notes("network")) == len(made) == 2


def test_large_weights_lie_beside_the_model(
    model: Path, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("distq.graph.weight_files.MOST_INSIDE", 0)
    monkeypatch.setattr("distq.graph.weight_files.MOST_IN_ONE_FILE", 0)
    monkeypatch.setattr("distq.graph.weight_files.LEAST_BYTES", 64)
    tune(model, data, tmp_path / "whole")
    with monkeypatch.context() as patch:
        stop_before_the_report(patch)
        with pytest.raises(InterruptedRun):
            tune(model, data, tmp_path / "run")
    result = distq.export(tmp_path / "run", out=tmp_path / "out", best_so_far=True)
    assert {path.name for path in result.files} >= {"model.int8.onnx", "model.int8.onnx.data"}
    for name in ("model.int8.onnx", "model.int8.onnx.data"):
        assert (result.out / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()
