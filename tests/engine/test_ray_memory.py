"""Workers that are killed for memory on another node than the driver's."""

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

import pytest
from cluster_processes import processes_with

SECONDS = 120
STORY = Path(__file__).with_name("memory_cluster.py")
LESS = "take fewer --workers or a smaller --cache-memory"


@pytest.mark.cluster
def test_memory_of_another_node_is_named_as_what_killed_its_worker(tmp_path: Path) -> None:
    token = secrets.token_hex(32)
    folder = tempfile.mkdtemp(prefix="distq-", dir="/tmp")  # Ray's sockets need a short path
    environment = {name: value for name, value in os.environ.items() if not name.startswith("RAY_")}
    environment |= {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": token, "RAY_TMPDIR": folder}
    environment["PYTHONPATH"] = os.pathsep.join(
        [str(STORY.parent), *filter(None, [os.environ.get("PYTHONPATH")])]
    )
    try:
        done = subprocess.run(  # noqa: S603  # our own interpreter
            [sys.executable, str(STORY), str(tmp_path / "seen")],
            env=environment,
            capture_output=True,
            text=True,
            check=False,
            timeout=SECONDS,
        )
    finally:
        for left in processes_with(token):
            with contextlib.suppress(ProcessLookupError):
                os.kill(left, signal.SIGKILL)
        shutil.rmtree(folder, ignore_errors=True)
    assert done.returncode == 0, done.stderr
    by_system, by_ray = json.loads(done.stdout.splitlines()[-1])
    assert f"(the system killed it for memory: {LESS}); again: square of 1" in by_system
    assert f"Ray ended it because its node ran out of memory: {LESS}" in by_ray
