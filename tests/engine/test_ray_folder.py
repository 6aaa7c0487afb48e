"""Temporary folders of Ray: those of killed processes go, all others stay."""

from __future__ import annotations

import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from distq.engine.ray_folder import RayFolder, remove_abandoned_folders

MAKE = """
import os, signal
from distq.engine.ray_folder import RayFolder
folder = RayFolder.make().path
(folder / "session_1" / "sockets").mkdir(parents=True)
print(folder, flush=True)
os.kill(os.getpid(), signal.SIGKILL)
"""


PUT = """
import os, signal
from distq.graph import weight_files
weight_files.put(b"weights")
print(weight_files.folder(), flush=True)
{end}
"""


@pytest.fixture
def base(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A short folder for temporary files."""
    with tempfile.TemporaryDirectory(dir="/tmp") as folder:
        monkeypatch.setenv("TMPDIR", folder)
        monkeypatch.setattr(tempfile, "tempdir", None)
        yield Path(folder)


@pytest.fixture
def abandoned(base: Path) -> Path:
    """The folder of a process that was killed."""
    made = subprocess.run([sys.executable, "-c", MAKE], stdout=subprocess.PIPE, text=True, check=False)  # noqa: S603  # our own interpreter
    assert made.returncode == -signal.SIGKILL
    folder = Path(made.stdout.strip())
    assert folder.parent == base
    return folder


def test_the_folder_of_a_killed_process_is_removed(abandoned: Path) -> None:
    remove_abandoned_folders()
    assert not abandoned.exists()


def test_large_weights_of_a_killed_process_are_removed_and_those_in_use_stay(base: Path) -> None:
    killed = [sys.executable, "-c", PUT.format(end="os.kill(os.getpid(), signal.SIGKILL)")]
    alive = [sys.executable, "-c", PUT.format(end="input()")]
    subprocess.run(killed, stdout=subprocess.DEVNULL, check=False)  # noqa: S603  # our own interpreter
    with subprocess.Popen(alive, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as user:  # noqa: S603  # as above
        assert user.stdout is not None
        used = Path(user.stdout.readline().strip())
        assert len(list(base.iterdir())) == 2
        remove_abandoned_folders()
        assert list(base.iterdir()) == [used]
        user.communicate("")
    assert list(base.iterdir()) == []


def test_a_folder_in_use_stays_until_its_process_removes_it(base: Path) -> None:
    folder = RayFolder.make()
    (folder.path / "session_1").mkdir()
    remove_abandoned_folders()
    assert (folder.path / "session_1").is_dir()
    folder.remove()
    assert list(base.iterdir()) == []


def test_a_folder_whose_ray_still_answers_stays(abandoned: Path) -> None:
    with socket.socket(socket.AF_UNIX) as raylet:
        raylet.bind(str(abandoned / "session_1" / "sockets" / "raylet"))
        raylet.listen()
        remove_abandoned_folders()
        assert (abandoned / "session_1").is_dir()
    remove_abandoned_folders()
    assert not abandoned.exists()


def test_what_is_not_ours_stays(base: Path, abandoned: Path) -> None:
    theirs = base / "distq-settings"
    theirs.mkdir()
    (theirs / "kept").touch()
    elsewhere = abandoned.rename(base / "elsewhere")
    (base / "distq-link").symlink_to(elsewhere)
    (base / "distq-file").touch()
    remove_abandoned_folders()
    assert (theirs / "kept").exists()
    assert (elsewhere / "owner").exists()
    assert (base / "distq-file").exists()


@pytest.mark.parametrize("name", ["a b", "é"])
def test_the_path_that_ray_gets_is_plain(base: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    (base / name).mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(base / name))
    folder = RayFolder.make()
    folder.remove()
    assert str(folder.path).isascii()
    assert (folder.path.parent == base / name) == name.isascii()
