"""A cluster of several nodes, some of which join while a job runs."""

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
STORY = Path(__file__).with_name("growing_cluster.py")


@pytest.mark.cluster
def test_nodes_that_join_while_a_job_runs_are_used() -> None:
    token = secrets.token_hex(32)
    folder = tempfile.mkdtemp(prefix="distq-", dir="/tmp")  # Ray's sockets need a short path
    Path(folder, "ray").mkdir()
    environment = {name: value for name, value in os.environ.items() if not name.startswith("RAY_")}
    environment |= {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": token, "RAY_TMPDIR": folder, "HOME": folder}
    environment["PYTHONPATH"] = str(STORY.parent)  # the actors import the units
    try:
        done = subprocess.run(  # noqa: S603  # our own interpreter
            [sys.executable, str(STORY)],
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
    seen = json.loads(done.stdout.splitlines()[-1])
    assert seen["growing"] == [1, 2, 3, ["the Ray cluster has grown: 2 more workers, 3 in all"]]
    there = "the Ray cluster has 3 CPUs and 0 GPUs on 2 nodes, at most 2 CPUs and 0 GPUs on one"
    assert seen["refused"] == [
        f"--workers 4 of 1 CPU each: {there}; ask for at most 3 workers",
        f"a worker of 3 CPUs: {there}; no node has room for one",
    ]
    assert seen["waiting"] == [4, 3]
    assert seen["automatic"] == ["cpu", 5], "the node's GPU is of no use to this ONNX Runtime"
    there = "the Ray cluster has 5 CPUs and 1 GPUs on 3 nodes, at most 2 CPUs and 1 GPUs on one"
    refused = f"a worker of 1 CPU, 2 CPUs to decode and 1 GPU: {there}; no node has room for one"
    assert seen["decoding"] == [1, 1, True, refused]
