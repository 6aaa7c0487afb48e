"""Copies of a data set on a node's own disk."""

from __future__ import annotations

import resource
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import fsspec
import numpy as np
import pytest
from data_helpers import picture, raw_datum, write_lmdb

from distq.data.lmdb_check import check_lmdb
from distq.data.staging import Stage, local_copy, plan_stage
from distq.errors import DataError, ExecutionError, UsageError
from distq.files import sha256_file


@pytest.fixture
def database(tmp_path: Path) -> Path:
    return write_lmdb(tmp_path / "db", {b"%d" % n: raw_datum(picture(4, 6, seed=n)) for n in range(5)})


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "node" / "staged"


def wait_until(true: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 20
    while not true() and time.monotonic() < deadline:
        time.sleep(0.01)
    assert true()


def is_empty(folder: Path) -> bool:
    return not any(folder.iterdir())


def test_the_last_to_leave_has_the_copy_removed(database: Path, folder: Path) -> None:
    stage = plan_stage(database, folder)
    assert stage == Stage(str(folder), sha256_file(database / "data.mdb"))
    first, second = local_copy(database, stage), local_copy(database, stage)
    assert (first.made, second.made) == (True, False)
    assert first.path == second.path
    check_lmdb(first.path)
    assert (first.path / "data.mdb").read_bytes() == (database / "data.mdb").read_bytes()
    first.close()
    third = local_copy(database, stage)
    assert not third.made
    second.close()
    time.sleep(0.2)
    assert (third.path / "data.mdb").is_file()
    third.close()
    wait_until(lambda: is_empty(folder))


PROCESS = """
import sys, time
from pathlib import Path
from distq.data.staging import local_copy, plan_stage
source, folder = map(Path, sys.argv[1:])
copy = local_copy(source, plan_stage(source, folder))
print(copy.made, len((copy.path / "data.mdb").read_bytes()), flush=True)
sys.stdin.read()
"""


def test_of_several_processes_one_copies_and_kill_9_leaves_nothing(database: Path, folder: Path) -> None:
    command = [sys.executable, "-c", PROCESS, str(database), str(folder)]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    processes = [subprocess.Popen(command, **pipes) for _ in range(4)]  # noqa: S603  # our own interpreter
    try:
        answers = [process.stdout.readline().split() for process in processes]
        size = (database / "data.mdb").stat().st_size
        assert sorted(answers) == [["False", str(size)]] * 3 + [["True", str(size)]]
    finally:
        for process in processes:
            process.send_signal(signal.SIGKILL)
            process.communicate()
    wait_until(lambda: is_empty(folder))


def test_what_nobody_holds_is_not_trusted(database: Path, folder: Path) -> None:
    stage = plan_stage(database, folder)
    place = folder / f"distq-{stage.sha256[:32]}"
    (place / "data").mkdir(parents=True)
    (place / "data" / "data.mdb").write_bytes(b"left by a machine that went down")
    (folder / f"{place.name}.part").mkdir()
    (folder / f"{place.name}.lock").touch()
    copy = local_copy(database, stage)
    assert copy.made
    assert sha256_file(copy.path / "data.mdb") == stage.sha256
    copy.close()
    wait_until(lambda: is_empty(folder))


@pytest.mark.parametrize("name", ["x.npz", "x.npy"])
def test_arrays_here_and_behind_a_url(name: str, tmp_path: Path, folder: Path) -> None:
    values = np.arange(12, dtype=np.float32).reshape(3, 4)
    if name == "x.npz":
        np.savez(tmp_path / name, x=values)
    else:
        np.save(tmp_path / name, values)
    content = (tmp_path / name).read_bytes()
    fsspec.filesystem("memory").pipe_file(f"/staged/{name}", content)
    for source in (tmp_path / name, Path(f"memory://staged/{name}")):
        copy = local_copy(source, plan_stage(source, folder))
        assert copy.path.read_bytes() == content
        assert copy.path.suffix == Path(name).suffix
        copy.close()
    fsspec.filesystem("memory").rm("/staged", recursive=True)
    wait_until(lambda: is_empty(folder))


def test_data_that_changed_since_it_was_hashed_is_refused(database: Path, folder: Path) -> None:
    stage = plan_stage(database, folder)
    data = bytearray((database / "data.mdb").read_bytes())
    data[-1] ^= 1
    (database / "data.mdb").write_bytes(data)
    with pytest.raises(ExecutionError, match=r"copy of .*db on .* is not what was hashed"):
        local_copy(database, stage)
    assert is_empty(folder)
    assert plan_stage(database, folder) != stage


def test_a_node_without_room_says_so(database: Path, folder: Path) -> None:
    stage = plan_stage(database, folder)
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, before[1]))
    try:
        with pytest.raises(ExecutionError, match=r"distq-\w+ on \S+ cannot be written: File too large"):
            local_copy(database, stage)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert is_empty(folder)
    assert local_copy(database, stage).made


def test_a_disk_smaller_than_the_data_is_not_filled(
    database: Path, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stage = plan_stage(database, folder)
    size = (database / "data.mdb").stat().st_size
    monkeypatch.setattr("shutil.disk_usage", lambda _: SimpleNamespace(free=size - 1))
    with pytest.raises(ExecutionError, match=r"No space left on device; .* or give another --stage"):
        local_copy(database, stage)


def test_a_folder_that_cannot_be_made(database: Path, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    stage = plan_stage(database, tmp_path / "file")
    with pytest.raises(ExecutionError, match=r"cannot be written: File exists; .* another --stage-data"):
        local_copy(database, stage)


def test_lists_and_folders_are_refused(tmp_path: Path) -> None:
    (tmp_path / "list.txt").write_text("a.png\n")
    for source in (tmp_path / "list.txt", tmp_path, Path("s3://bucket/list.txt")):
        with pytest.raises(UsageError, match=r"copies an LMDB, .npz or .npy, and .* is none: make an LMDB"):
            plan_stage(source, tmp_path)


def test_a_source_that_is_gone(tmp_path: Path, folder: Path) -> None:
    with pytest.raises(DataError, match=r"x\.npy cannot be read: No such file"):
        plan_stage(tmp_path / "x.npy", folder)
    with pytest.raises(DataError, match=r"x\.npy cannot be read: No such file"):
        local_copy(tmp_path / "x.npy", Stage(str(folder), "0" * 64))
