"""A run whose driver is killed, and one that is told to stop: what is left of Ray, and that it can go on."""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

import distq

ASSETS = Path(distq.__file__).parent / "assets"
SHARED_MEMORY = Path("/dev/shm")  # noqa: S108  # looked at only
SECONDS = 120  # for any one thing to happen


@dataclass(frozen=True)
class Place:
    """A folder for temporary files and for the run, and an environment by which its processes are known."""

    folder: Path
    environment: dict[str, str]

    @property
    def journal(self) -> Path:
        return self.folder / "run" / "journal.jsonl"

    def start(self, *options: str) -> subprocess.Popen[str]:
        command = [
            sys.executable, "-m", "distq", "tune", str(ASSETS / "digits.onnx"),
            "--data", str(ASSETS / "labels.txt"), "--preprocess", str(ASSETS / "preprocess.yaml"),
            "--samples", "160", "--tune-samples", "160", "--holdout", "50", "--shard-size", "1",
            "--effort", "3", "--workers", "2", "--quiet", "--out", str(self.folder / "run"), *options,
        ]  # fmt: skip
        return subprocess.Popen(  # noqa: S603  # our own interpreter
            command, env=self.environment, stderr=subprocess.PIPE, text=True, start_new_session=True
        )

    def ray_folders(self) -> list[Path]:
        return sorted(self.folder.glob("distq-*"))

    def processes(self) -> list[int]:
        """Processes that inherited the environment."""
        mark, found = self.environment["DISTQ_TEST"].encode(), []
        for process in Path("/proc").glob("[0-9]*"):
            with contextlib.suppress(OSError):
                if mark in (process / "environ").read_bytes():
                    found.append(int(process.name))
        return found

    def finished_units(self) -> list[str]:
        """Keys of the journal's units; its last line may be half written."""
        keys = []
        for line in self.journal.read_bytes().splitlines() if self.journal.exists() else []:
            with contextlib.suppress(ValueError):
                record = json.loads(line)["record"]
                keys += [record["key"]] if record["type"] == "unit" else []
        return keys


@pytest.fixture
def place() -> Iterator[Place]:
    folder = Path(tempfile.mkdtemp(prefix="d", dir="/tmp"))  # Ray's sockets need a short path
    environment = {name: value for name, value in os.environ.items() if not name.startswith("RAY_")}
    environment |= {"TMPDIR": str(folder), "HOME": str(folder), "DISTQ_TEST": secrets.token_hex(16)}
    here = Place(folder, environment)
    yield here
    for left in here.processes():
        with contextlib.suppress(ProcessLookupError):
            os.kill(left, signal.SIGKILL)
    shutil.rmtree(folder, ignore_errors=True)


def wait_until(what: Callable[[], bool], seconds: float = SECONDS) -> None:
    deadline = time.monotonic() + seconds
    while not what():
        assert time.monotonic() < deadline
        time.sleep(0.1)


def refuses_another_token(place: Place, port: str) -> bool:
    """Whether Ray, asked by a process with another token, says that it is wrong; it would ask for long."""
    stranger = {**place.environment, "RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": "0" * 64}
    command = [sys.executable, "-c", f"import ray; ray.init(address='127.0.0.1:{port}'); print('came in')"]
    with subprocess.Popen(  # noqa: S603  # our own interpreter
        command, env=stranger, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    ) as asking:
        assert asking.stdout is not None
        said = ""
        for line in asking.stdout:
            said += line
            if "InvalidAuthToken" in line:
                break
        asking.kill()
    return "InvalidAuthToken" in said and "came in" not in said


@pytest.mark.cluster
@pytest.mark.skipif(not Path("/proc/self/environ").exists(), reason="processes are looked up in /proc")
def test_a_killed_driver_leaves_a_folder_at_most_which_the_next_command_removes(place: Place) -> None:
    before_it = set(SHARED_MEMORY.iterdir())
    killed = place.start()
    wait_until(lambda: len(place.finished_units()) > 50)
    (left,) = place.ray_folders()
    (port,) = (path.read_text() for path in left.glob("session_2*/gcs_server_port_*"))
    assert refuses_another_token(place, port)
    assert len(place.processes()) > 4, "this test can see Ray's processes"
    assert killed.poll() is None
    killed.kill()
    killed.wait()
    wait_until(lambda: not place.processes())
    wait_until(lambda: set(SHARED_MEMORY.iterdir()) <= before_it)  # other tests' files come and go
    before = place.finished_units()

    resumed = place.start("--resume")
    wait_until(lambda: len(place.finished_units()) > len(before) + 20)
    (mine,) = place.ray_folders()
    assert mine != left
    resumed.terminate()
    _, said = resumed.communicate(timeout=SECONDS)
    assert (resumed.returncode, said) == (
        130,
        "distq: interrupted: continue with the same command and --resume\n",
    )
    wait_until(lambda: not place.processes())
    assert [path.name for path in place.folder.iterdir()] == ["run"], "it is $TMPDIR and the home folder"
    keys = place.finished_units()
    assert keys[: len(before)] == before
    assert len(set(keys)) == len(keys), "a finished unit ran again"
