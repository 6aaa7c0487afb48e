"""Processes of peers.py: the peers' virtual environment, and runs whose time and memory are taken."""

from __future__ import annotations

import os
import re
import subprocess
import time
import venv
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Run:
    """How a process ended: exit status, seconds and peak memory of all of it, and its last line."""

    status: int
    seconds: float
    peak_mib: float
    reason: str


def make_environment(work: Path, requirements: Path, warm_up: str, name: str = "venv") -> Path:
    """The peers' Python; installed once, and again when the pinned versions change.

    Args:
        work: where the environment is made.
        requirements: a pinned version a line; the first is installed by itself.
        warm_up: what is run once, as compiling at the first import is not running time.
        name: of the environment's folder.
    """
    folder = work / name
    python, stamp = folder / "bin" / "python", folder / "installed.txt"
    wanted = requirements.read_text(encoding="utf-8")
    if not stamp.exists() or stamp.read_text(encoding="utf-8") != wanted:
        print(f"installing the peers into {folder}")
        venv.create(folder, with_pip=True)
        lines = [line for line in wanted.splitlines() if line and not line.startswith("#")]
        for packages in (lines[:1], lines):
            subprocess.run([str(python), "-m", "pip", "install", "--quiet", *packages], check=True)
        subprocess.run([str(python), "-c", warm_up], check=True, stdout=subprocess.DEVNULL)
        stamp.write_text(wanted, encoding="utf-8")
    return python


def run(command: Sequence[str], log: Path, timeout: float) -> Run:
    """Run a command in the folder of ``log``, both its streams into it, for ``timeout`` seconds at most."""
    started = time.monotonic()
    with log.open("wb") as stream:
        process = subprocess.Popen(command, cwd=log.parent, stdout=stream, stderr=subprocess.STDOUT)
    killed = False
    while True:
        # wait4, because RUSAGE_CHILDREN gives the largest of all children so far
        pid, status, usage = os.wait4(process.pid, os.WNOHANG)
        if pid:
            break
        if time.monotonic() - started > timeout and not killed:
            process.kill()
            killed = True
        time.sleep(0.02)
    process.returncode = os.waitstatus_to_exitcode(status)
    lines = log.read_text(encoding="utf-8", errors="replace").strip().splitlines() or ["no output"]
    last = re.sub(r"^(\w+\.)+(?=\w+: )", "", lines[-1].strip())[
        :200
    ]  # without the path of an exception's class
    reason = f"more than {timeout:.0f} s" if killed else last
    return Run(process.returncode, time.monotonic() - started, usage.ru_maxrss / 1024, reason)
