"""``--stage-data``: workers read a copy on their node, and a job's result does not depend on it."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from job_helpers import bits, read_json, samples, use_watched, write_photos

import distq
from distq.cli.app import invoke
from distq.data.build import build_lmdb
from distq.data.staging import LocalCopy
from distq.errors import InterruptedRun, UsageError
from distq.files import sha256_file


@pytest.fixture(scope="module")
def database(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("database")
    write_photos(place / "photos", 12)
    (place / "list.txt").write_text("".join(f"{number}.png {number % 6}\n" for number in range(12)))
    return build_lmdb(place / "photos", place / "list.txt", place / "db").database


def calibrate(model: Path, data: Path, out: Path, **options: Any) -> Path:
    return distq.calibrate(model=model, data=data, out=out, samples=8, **options).out


def wait_until_empty(folder: Path) -> None:
    deadline = time.monotonic() + 20
    while any(folder.iterdir()) and time.monotonic() < deadline:
        time.sleep(0.01)
    assert list(folder.iterdir()) == []


@pytest.fixture
def opened(monkeypatch: pytest.MonkeyPatch) -> list[LocalCopy]:
    """The copies that were opened in this process."""
    copies: list[LocalCopy] = []
    really: Callable[..., LocalCopy] = distq.data.dataset.local_copy

    def watched(*given: Any) -> LocalCopy:
        copies.append(really(*given))
        return copies[-1]

    monkeypatch.setattr("distq.data.dataset.local_copy", watched)
    return copies


def test_a_worker_reads_its_copy_and_the_manifest_knows_it(
    model: Path, database: Path, tmp_path: Path, opened: list[LocalCopy]
) -> None:
    folder = tmp_path / "node"
    plain = calibrate(model, database, tmp_path / "plain", executor="local")
    assert opened == []
    staged = calibrate(model, database, tmp_path / "staged", executor="local", stage_data=folder)
    assert [copy.path.is_relative_to(folder) for copy in opened] == [True]
    assert bits(staged) == bits(plain)
    records = [read_json(run / "run.json") for run in (plain, staged)]
    sha256 = sha256_file(database / "data.mdb")
    assert records[1]["data"] == {
        **records[0]["data"],
        "staged": {"folder": str(folder), "sha256": sha256},
    }
    assert records[1]["job"] == records[0]["job"]
    opened.clear()
    wait_until_empty(folder)


def test_workers_of_a_node_share_a_copy(
    model: Path, database: Path, tmp_path: Path, ray_session: None
) -> None:
    del ray_session
    folder = tmp_path / "node"
    folder.mkdir()
    before = folder.stat().st_ctime_ns
    staged = calibrate(
        model, database, tmp_path / "staged", executor="ray", workers=2, shard_size=2, stage_data=folder
    )
    assert folder.stat().st_ctime_ns > before, "something was there"
    assert bits(staged) == bits(calibrate(model, database, tmp_path / "plain", executor="local"))
    wait_until_empty(folder)


def test_it_may_change_on_resume(model: Path, database: Path, tmp_path: Path) -> None:
    folder = tmp_path / "node"
    with pytest.MonkeyPatch.context() as patch:
        ran: list[str] = []
        use_watched(patch, ran, stop_after=2)
        with pytest.raises(InterruptedRun):
            calibrate(model, database, tmp_path / "run", executor="local", stage_data=folder)
    calibrate(model, database, tmp_path / "run", executor="local", resume=True, stage_data=tmp_path / "other")
    assert bits(tmp_path / "run") == bits(calibrate(model, database, tmp_path / "plain", executor="local"))
    assert read_json(tmp_path / "run" / "run.json")["units"]["recalled"] >= 2
    wait_until_empty(folder)
    wait_until_empty(tmp_path / "other")


def test_held_out_data_is_staged_too(model: Path, database: Path, tmp_path: Path) -> None:
    np.save(tmp_path / "held.npy", samples(4))
    given = {"executor": "local", "holdout_data": tmp_path / "held.npy"}
    run = calibrate(model, database, tmp_path / "run", stage_data=tmp_path / "node", **given)
    assert read_json(run / "run.json")["holdout"]["staged"]["sha256"] == sha256_file(tmp_path / "held.npy")
    wait_until_empty(tmp_path / "node")


def test_what_cannot_be_staged_is_refused_before_anything_runs(
    model: Path, database: Path, tmp_path: Path
) -> None:
    photos = database.parent / "photos"
    with pytest.raises(UsageError, match="make an LMDB of it with 'distq dataset build'"):
        calibrate(model, photos, tmp_path / "run", executor="local", stage_data=tmp_path / "node")
    assert not (tmp_path / "run").exists()


def test_a_node_without_room_ends_the_command_in_one_line(
    *,
    model: Path,
    database: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def full(*_: object) -> None:
        raise OSError(28, os.strerror(28))

    line = ["calibrate", str(model), "--data", str(database), "--samples", "8", "--executor", "local"]
    line += ["--stage-data", str(tmp_path / "node"), "--out", str(tmp_path / "run"), "--quiet"]
    with monkeypatch.context() as patch:
        patch.setattr("distq.data.staging._copy", full)
        assert invoke(line) == 3
    error = capsys.readouterr().err
    assert error.startswith(f"distq: {tmp_path / 'node'}/distq-")
    assert "No space left on device; make room on the disk, or give another --stage-data" in error
    assert error.count("\n") == 1
    assert invoke([*line, "--resume"]) == 0
    wait_until_empty(tmp_path / "node")
