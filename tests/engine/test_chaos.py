"""Three faults by ``scripts/chaos``, in a process of its own: same bytes, and nothing is done twice."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[2] / "scripts" / "chaos.py"
SECONDS = 300  # it takes one on two idle cores


@pytest.mark.cluster
@pytest.mark.skipif(not Path("/proc/self/environ").exists(), reason="processes are looked up in /proc")
def test_faults_change_no_byte_and_nothing_finished_runs_again() -> None:
    command = [
        sys.executable,
        str(SCRIPT),
        "--faults",
        "3",
        "--seed",
        "1",
        "--samples",
        "32",
        "--jobs",
        "tune",
        "--kinds",
        "node,full disk,flip",
    ]
    environment = {name: value for name, value in os.environ.items() if not name.startswith("RAY_")}
    with subprocess.Popen(  # noqa: S603  # our own interpreter and script
        command, env=environment, stdout=subprocess.PIPE, text=True, start_new_session=True
    ) as chaos:
        try:
            said, _ = chaos.communicate(timeout=SECONDS)
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(chaos.pid, signal.SIGKILL)
    assert chaos.returncode == 0, said
    assert re.search(r"^all +3 ", said, re.MULTILINE), said
    assert said.splitlines()[-5:] == [
        "lines that are no message: 0",
        "runs that failed or hung: 0",
        "files that differ: 0",
        "units finished twice: 0",
        "files and processes left behind: 0",
    ]
