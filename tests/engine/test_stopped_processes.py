"""Processes that are stopped (SIGSTOP), and a raylet that is killed: said, replaced, and nothing left."""

from __future__ import annotations

import os
import secrets
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from cluster_processes import processes_with
from job_helpers import write_photos

from distq.engine.raylet import GONE

SECONDS = 120
COMMAND = """
import signal, sys
signal.signal(signal.SIGINT, signal.default_int_handler)  # the tests may run where it is ignored
from distq.__main__ import main
sys.argv = ["distq", *{arguments!r}]
main()
"""
PLUGIN = """
import os, pathlib, signal, time
import numpy as np
def image_preprocess(img_path, norm=True):
    seen = pathlib.Path(__file__ + ".seen")
    if pathlib.Path(img_path).stem == "5" and not seen.exists():
        seen.write_text("there")
        time.sleep(1)  # until the command waits: Ray ends it where the raylet goes within a call
        os.kill({process}, signal.{how})
    return np.full((1, 3, 8, 8), int(pathlib.Path(img_path).stem) / 9, np.float32)
"""

pytestmark = [
    pytest.mark.cluster,
    pytest.mark.skipif(not Path("/proc/self/environ").exists(), reason="processes are looked up in /proc"),
]


@contextmanager
def calibrating(
    place: Path, model: Path, process: str, *options: str, how: str = "SIGSTOP"
) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """A command whose plug-in stops or kills a process at its sixth image; with what marks its processes."""
    write_photos(place / "photos", 12)
    (place / "plugin.py").write_text(PLUGIN.format(process=process, how=how))
    arguments = [
        "calibrate", model, "--data", place / "photos", "--preprocess", place / "plugin.py", "--allow-code",
        "--samples", 8, "--workers", 2, "--shard-size", 1, "--quiet", "--out", place / "run", *options,
    ]  # fmt: skip
    mark = secrets.token_hex(16)
    environment = {name: value for name, value in os.environ.items() if not name.startswith("RAY_")}
    with subprocess.Popen(  # noqa: S603  # our own code
        [sys.executable, "-c", COMMAND.format(arguments=list(map(str, arguments)))],
        env={**environment, "MARK": mark},
        stderr=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        text=True,
        start_new_session=True,
    ) as command:
        try:
            yield command, mark
        finally:
            command.kill()
            for left in processes_with(mark):
                os.kill(left, signal.SIGKILL)


def none_left(mark: str) -> bool:
    end = time.monotonic() + 10
    while processes_with(mark) and time.monotonic() < end:
        time.sleep(0.1)
    return not processes_with(mark)


def test_a_stopped_worker_is_replaced(model: Path, tmp_path: Path) -> None:
    with calibrating(tmp_path, model, "os.getpid()", "--unit-timeout", "3") as (command, mark):
        _, said = command.communicate(timeout=SECONDS)
        assert none_left(mark)
    assert command.returncode == 0, said
    (line,) = said.splitlines()
    assert line.startswith("warning: lost a worker on ")
    assert "(no answer within --unit-timeout 3 s); again: calibrate, sample" in line


def test_one_ctrl_c_ends_what_a_stopped_raylet_holds_up(model: Path, tmp_path: Path) -> None:
    with calibrating(tmp_path, model, "os.getppid()") as (command, mark):
        end = time.monotonic() + SECONDS
        while not (tmp_path / "plugin.py.seen").exists() and time.monotonic() < end:
            time.sleep(0.05)
        time.sleep(1)
        began = time.monotonic()
        command.send_signal(signal.SIGINT)
        _, said = command.communicate(timeout=SECONDS)
        seconds = time.monotonic() - began
        assert none_left(mark)
    assert (command.returncode, said) == (
        130,
        "distq: interrupted: continue with the same command and --resume\n",
    )
    assert seconds < 15, (
        "five are promised; Ray itself would take a minute, and other tests may use the machine"
    )


def test_a_raylet_that_is_killed_ends_the_command_with_one_line(model: Path, tmp_path: Path) -> None:
    """Ray itself ends the process at its next call, with exit code 1 and nothing said."""
    with calibrating(tmp_path, model, "os.getppid()", how="SIGKILL") as (command, mark):
        _, said = command.communicate(timeout=SECONDS)
        assert none_left(mark)
    told = [line for line in said.splitlines() if not line.startswith("warning: lost a worker")]
    assert (command.returncode, told) == (3, [f"distq: {GONE}"])
