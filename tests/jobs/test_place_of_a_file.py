"""A file that cannot be written where it is to be is refused before the work for it."""

from __future__ import annotations

import errno
import os
import tempfile
from pathlib import Path

import numpy as np
import pytest
from caffe_cases import COMPARED
from exchange_networks import small_file

import distq
from distq.cli.app import invoke

LOCAL = ["--executor", "local", "--quiet"]


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A model with data and a run of it, and a folder of a disk that can only be read."""
    np.save(tmp_path / "data.npy", np.random.default_rng(0).normal(size=(8, 3, 8, 8)).astype(np.float32))
    small_file(tmp_path).rename(tmp_path / "model.onnx")
    COMPARED["in place"].save(tmp_path)
    (tmp_path / "list.txt").write_text("a.png 1\n")
    distq.calibrate(
        model=tmp_path / "model.onnx", data=tmp_path / "data.npy", executor="local", out=tmp_path / "run"
    )
    (tmp_path / "disk").mkdir()
    usual = tempfile.TemporaryFile

    def refused(dir: Path) -> object:  # noqa: A002  # its name there
        if dir.name == "disk":
            raise OSError(errno.EROFS, os.strerror(errno.EROFS))
        return usual(dir=dir)

    monkeypatch.setattr(tempfile, "TemporaryFile", refused)
    return tmp_path


@pytest.mark.parametrize(
    "line",
    [
        ["convert", "{}/run", "--to", "csv", "--out", "{}/disk/t.csv"],
        ["convert", "{}/net.prototxt", "--out", "{}/disk/net.onnx"],
        ["report", "{}/run", "--out", "{}/disk/page.html"],
        ["dataset", "build", "{}", "{}/list.txt", "{}/disk/lmdb"],
        [
            *("calibrate", "{}/model.onnx", "--data", "{}/data.npy", *LOCAL),
            *("--dump-dist", "{}/disk/d.npz", "--out", "{}/another"),
        ],
    ],
    ids=["table", "network", "page", "database", "distributions"],
)
def test_it_exits_2_with_one_line(line: list[str], place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    capsys.readouterr()
    assert invoke([part.replace("{}", str(place)) for part in line]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert "/disk/" in err
    assert "cannot be written: Read-only file system; give one in another folder" in err
    assert err.count("\n") == 1
    assert not (place / "another").exists()
    assert not list((place / "disk").iterdir())
