"""An export is a network with all that belongs to it, also where the run goes on or ends meanwhile."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from job_helpers import evening_job, tree

import distq
from distq.cli.app import invoke
from distq.errors import FileFormatError, InterruptedRun, UsageError
from distq.run.best_so_far import BestSoFar
from distq.run.rundir import RunDir

NETWORKS = {"model.int8.onnx", "model.equalized.onnx"}
TABLES = {"thresholds.json", "tensors.csv"}


def _interrupt(*_: object) -> None:
    raise KeyboardInterrupt


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that evened out channels, and the same one stopped before its report."""
    folder = tmp_path_factory.mktemp("runs")
    options = evening_job(folder)
    distq.tune(out=folder / "whole", **options)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("distq.jobs.tune.finish", _interrupt)
        with pytest.raises(InterruptedRun):
            distq.tune(out=folder / "stopped", **options)
    return folder


@pytest.mark.parametrize("run", ["whole", "stopped"])
def test_the_equalized_network_is_exported_with_the_int8_one(runs: Path, run: str, tmp_path: Path) -> None:
    before = tree(runs / run)
    result = distq.export(runs / run, out=tmp_path / "out", best_so_far=True)
    assert {path.name for path in result.files} == NETWORKS | TABLES
    for path in result.files:
        assert path.read_bytes() == (runs / "whole" / path.name).read_bytes()
    assert tree(runs / run) == before


def test_nothing_of_an_earlier_export_stays(runs: Path, tmp_path: Path) -> None:
    for name in ("model.int8.onnx.data", "model.equalized.onnx.data", ".model.int8.onnx.a1b2"):
        (tmp_path / name).write_bytes(b"of another network, or half written")
    distq.export(runs / "whole", out=tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == NETWORKS | TABLES


def test_an_equalized_network_of_another_one_is_not_taken(runs: Path, tmp_path: Path) -> None:
    equalized = runs / "stopped" / "model.equalized.onnx"
    kept = equalized.read_bytes()
    equalized.write_bytes(kept + b"\0")
    try:
        with pytest.raises(FileFormatError, match="try again"):
            distq.export(runs / "stopped", out=tmp_path / "out", best_so_far=True)
    finally:
        equalized.write_bytes(kept)


def test_what_is_damaged_is_said_with_what_to_do(
    runs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = shutil.copytree(runs / "stopped", tmp_path / "run")
    (network,) = (run / "best_so_far").glob("*.onnx")
    network.write_bytes(network.read_bytes()[:-100])
    with pytest.raises(FileFormatError, match=r"onnx is damaged: remove it and continue with --resume"):
        distq.export(run, out=tmp_path / "out", best_so_far=True)
    (run / "run.json").write_text("no JSON")
    for command in (["watch", str(run)], ["export", str(run), "--out", str(tmp_path / "out")]):
        assert invoke(command) == 2
        assert "run.json is damaged, or not of a run of distq: give another run" in capsys.readouterr().err


def test_a_run_that_ends_while_it_is_read_is_exported_as_finished(
    runs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = shutil.copytree(runs / "stopped", tmp_path / "run")
    write = BestSoFar.write

    def end_first(best: BestSoFar, folder: RunDir) -> set[Path]:
        for path in (runs / "whole").iterdir():
            (run / path.name).write_bytes(path.read_bytes())
        for path in (run / "best_so_far").iterdir():
            path.unlink()
        return write(best, folder)

    monkeypatch.setattr(BestSoFar, "write", end_first)
    result = distq.export(run, out=tmp_path / "out", best_so_far=True)
    assert result.stage == "finished"
    assert (result.out / "model.int8.onnx").read_bytes() == (runs / "whole" / "model.int8.onnx").read_bytes()


@pytest.mark.parametrize(
    "command",
    ["watch", "export --out {0}/o", "convert --to csv --out {0}/t.csv", "report --out {0}/p.html"],
)
def test_the_folder_of_several_runs_names_them(
    command: str, runs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    verb, *rest = command.format(tmp_path).split()
    assert invoke([verb, str(runs), *rest]) == 2
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    assert f"give one, {runs / 'stopped'}, {runs / 'whole'}" in said
    with pytest.raises(UsageError, match="is not a run of distq: give "):
        distq.export(tmp_path, out=tmp_path / "out")
