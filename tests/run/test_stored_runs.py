"""Runs that released versions of distq left stay readable, and an interrupted one can be finished.

``python tests/run/test_stored_runs.py`` stores those of the version at hand, once for each release.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import fsspec
import numpy as np
import pytest
from job_helpers import read_json, samples, three_layers, thresholds, use_watched, write_model

import distq
from distq.calibration.distributions import DistributionSet
from distq.engine.journal import Journal
from distq.errors import InterruptedRun
from distq.quant.table import read_table
from distq.run.identity import versions
from distq.run.results import RunResult

STORED = Path(__file__).parent / "data"
RELEASES = sorted(path.stem for path in STORED.glob("*.zip"))
DATA = "memory://distq-stored/data.npy"  # a unit's key knows where the data lies
DECIDE_KEYS = ("onnx", "onnx-ir", "onnxruntime", "onnxruntime-gpu", "numpy")
"""Packages that write or round what units are known by."""


def tune(place: Path, name: str, **options: Any) -> RunResult:
    """The job whose runs are stored."""
    fsspec.filesystem("memory").pipe_file(DATA.removeprefix("memory:/"), (place / "data.npy").read_bytes())
    sizes = {"samples": 4, "tune_samples": 3, "shard_size": 2, "effort": 1}
    return distq.tune(
        model=place / "model.onnx", data=DATA, out=place / name, executor="local", **sizes, **options
    )


@pytest.fixture(params=RELEASES)
def place(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A copy of what a release left, on a machine like the one it ran on."""
    shutil.unpack_archive(STORED / f"{request.param}.zip", tmp_path)
    machine = read_json(tmp_path / "interrupted" / "run.json")["job"]["integer_instructions"]
    monkeypatch.setattr("distq.run.identity.integer_instructions", lambda: machine)
    yield tmp_path
    fsspec.filesystem("memory").store.clear()


def test_a_finished_run_gives_its_result(place: Path, watch: Any) -> None:
    ran = watch()
    result = tune(place, "finished", resume=True)
    assert ran == []
    metrics = read_json(place / "finished" / "metrics.json")
    assert result.holdout is not None
    assert result.holdout.model_dump(mode="json") == metrics["holdout"]
    assert [layer.name for layer in result.layers] == [layer["name"] for layer in metrics["layers"]]


def test_its_files_can_be_started_from(place: Path) -> None:
    finished = place / "finished"
    table = read_table(finished / "thresholds.json")
    assert {name: row.threshold for name, row in table.items()} == {
        name: row["threshold"] for name, row in thresholds(finished).items()
    }
    found = distq.calibrate(
        model=place / "model.onnx", load_dist=finished / "distributions.npz", out=place / "from_distributions"
    )
    assert set(thresholds(found.out)) == set(table)
    assert set(DistributionSet.load(finished / "distributions.npz").tensors) <= set(table)


def test_its_journal_holds_every_result(place: Path) -> None:
    lines = (place / "interrupted" / "journal.jsonl").read_bytes().count(b"\n")
    with Journal(place / "interrupted" / "journal.jsonl") as journal:
        units = {key: journal.get(key) for key in journal._units}
        notes = len(journal._notes)
    assert all(arrays for arrays in units.values())
    assert notes
    assert len(units) + notes + 1 == lines


def test_an_interrupted_run_can_be_finished(place: Path, watch: Any) -> None:
    with Journal(place / "interrupted" / "journal.jsonl") as journal:
        known = set(journal._units)
    ran = watch()
    result = tune(place, "interrupted", resume=True)
    wanted, found = (thresholds(folder) for folder in (place / "finished", result.out))
    assert list(found) == list(wanted)
    for name, row in wanted.items():
        assert found[name]["threshold"] == pytest.approx(row["threshold"], rel=0.2)
    made_by, here = read_json(place / "finished" / "run.json")["versions"], versions()
    if any(made_by.get(package) != here.get(package) for package in DECIDE_KEYS):
        pytest.skip("another ONNX, ONNX Runtime or numpy: units are known by other keys, and run again")
    assert read_json(result.out / "run.json")["units"]["recalled"] > 0
    assert known - set(ran)


def store() -> None:
    """Store a finished and an interrupted run of this version."""
    place = Path(tempfile.mkdtemp())
    write_model(place / "model.onnx", three_layers())
    np.save(place / "data.npy", samples(6).astype(np.float32))
    every: list[str] = []
    with pytest.MonkeyPatch.context() as patch:
        use_watched(patch, every)
        tune(place, "finished")
        use_watched(patch, [], stop_after=2 * len(every) // 3)
        with pytest.raises(InterruptedRun):
            tune(place, "interrupted")
    shutil.make_archive(str(STORED / distq.__version__), "zip", place)
    shutil.rmtree(place)


if __name__ == "__main__":
    store()
