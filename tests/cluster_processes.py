"""What tests that start Ray on their own look at: the processes of this machine."""

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
from pathlib import Path
from typing import Any


def processes_with(mark: str) -> list[int]:
    """Processes that inherited an environment with ``mark`` in it."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            if mark.encode() in (folder / "environ").read_bytes() and int(folder.name) != os.getpid():
                found.append(int(folder.name))
    return found


def told(story: Path, *arguments: str, seconds: float, **environment: str) -> Any:
    """What a program that starts a cluster of its own prints last, as JSON; nothing of it stays.

    Args:
        story: the program; modules beside it can be imported.
        arguments: of it.
        seconds: that it may take.
        environment: variables, beside those of this process that are not Ray's.
    """
    token = secrets.token_hex(32)
    folder = tempfile.mkdtemp(prefix="distq-", dir="/tmp")  # Ray's sockets need a short path
    variables = {name: value for name, value in os.environ.items() if not name.startswith("RAY_")}
    variables |= {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": token, "RAY_TMPDIR": folder}
    paths = [str(story.parent), *filter(None, [os.environ.get("PYTHONPATH")])]
    variables["PYTHONPATH"] = os.pathsep.join(paths)  # the actors import the units
    try:
        done = subprocess.run(  # noqa: S603  # our own interpreter
            [sys.executable, str(story), *arguments],
            env=variables | environment,
            capture_output=True,
            text=True,
            check=False,
            timeout=seconds,
        )
    finally:
        for left in processes_with(token):
            with contextlib.suppress(ProcessLookupError):
                os.kill(left, signal.SIGKILL)
        shutil.rmtree(folder, ignore_errors=True)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])
