"""Submission for real: a head of Ray with token authentication, spoken to over its HTTP port alone."""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
from cluster_processes import processes_with

import distq

ASSETS = Path(distq.__file__).parent / "assets"
BIN = Path(sys.executable).parent
SECONDS = 180  # of any one command; the whole takes about a minute

JOB = f"""
command: tune
model: {ASSETS / "digits.onnx"}
data: {ASSETS / "labels.txt"}
preprocess: p.py
allow_code: true
samples: 24
tune_samples: 16
shard_size: 2
holdout: 8
"""

PREPROCESSING = """
import time
from pathlib import Path
import cv2
import numpy as np

def image_preprocess(img_path, norm=True):
    while img_path.endswith("0020.png") and Path({hold!r}).exists():
        time.sleep(0.1)
    gray = cv2.resize(cv2.imread(img_path, cv2.IMREAD_GRAYSCALE), (32, 32))
    return ((gray / 255 - 0.3) / 0.35).astype(np.float32)[None]
"""


@dataclass(frozen=True)
class Head:
    """A running head: its URL, its token, and a folder that stands for storage of the cluster."""

    url: str
    token: str
    storage: Path


def free_port() -> int:
    """A port above those that Ray gives its workers."""
    for port in range(20_000 + secrets.randbelow(20_000), 60_000):
        with socket.socket() as found, contextlib.suppress(OSError):
            found.bind(("127.0.0.1", port))
            return port
    raise RuntimeError("no free port")


@pytest.fixture(scope="module")
def head() -> Iterator[Head]:
    token = secrets.token_hex(32)
    folder = Path(tempfile.mkdtemp(prefix="distq-", dir="/tmp"))  # Ray's sockets need a short path
    port = free_port()
    environment = {name: value for name, value in os.environ.items() if not name.startswith("RAY_")}
    environment |= {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": token, "HOME": str(folder)}
    environment["PATH"] = f"{BIN}{os.pathsep}{os.environ['PATH']}"
    arguments = [
        "--head", "--block", "--port=0", "--dashboard-host=127.0.0.1", f"--dashboard-port={port}",
        "--dashboard-agent-listen-port=0", f"--ray-client-server-port={free_port()}", "--num-cpus=2",
        f"--temp-dir={folder / 'ray'}", "--disable-usage-stats",
    ]  # fmt: skip
    with (folder / "head.log").open("wb") as log:
        process = subprocess.Popen(  # noqa: S603  # the interpreter's own ray
            [str(BIN / "ray"), "start", *arguments],
            env=environment,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
    try:
        here = Head(f"http://127.0.0.1:{port}", token, folder / "storage")
        here.storage.mkdir()
        deadline = time.monotonic() + SECONDS
        while call(here, "jobs").returncode != 0:
            assert process.poll() is None, (folder / "head.log").read_text()
            assert time.monotonic() < deadline, (folder / "head.log").read_text()
            time.sleep(1)
        yield here
    finally:
        process.send_signal(signal.SIGTERM)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(20)
        for left in processes_with(token):
            with contextlib.suppress(ProcessLookupError):
                os.kill(left, signal.SIGKILL)
        shutil.rmtree(folder, ignore_errors=True)


def call(head: Head, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run a distq command that speaks to the head, in a process and home folder of its own."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("RAY_")}
    environment["HOME"] = str(head.storage)
    if head.token:
        environment["RAY_AUTH_TOKEN"] = head.token
    return subprocess.run(  # noqa: S603  # our own interpreter
        [sys.executable, "-m", "distq", *arguments, "--address", head.url],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=SECONDS,
    )


def unit_keys(journal: Path) -> list[str]:
    """Keys of the finished units, in the order they were written."""
    lines = journal.read_bytes().splitlines() if journal.exists() else []
    records = []
    for line in lines:
        with contextlib.suppress(ValueError):  # the last line may be half written
            records.append(json.loads(line)["record"])
    return [record["key"] for record in records if record["type"] == "unit"]


@pytest.mark.cluster
@pytest.mark.skipif(not Path("/proc/self/environ").exists(), reason="processes are looked up in /proc")
def test_a_job_is_submitted_cancelled_resumed_and_fetched(head: Head, tmp_path: Path) -> None:
    run = head.storage / "runs" / "a run"
    hold = head.storage / "hold"
    hold.touch()
    (tmp_path / "p.py").write_text(PREPROCESSING.format(hold=str(hold)))
    job = tmp_path / "job.yaml"
    job.write_text(JOB + f"out: {run}\n")

    missing = call(replace(head, token=""), "submit", str(job))
    assert (missing.returncode, missing.stdout) == (2, "")
    assert missing.stderr.startswith(f"distq: {head.url} asks for a token: set RAY_AUTH_TOKEN")
    wrong = call(replace(head, token=head.token[::-1]), "submit", str(job))
    assert (wrong.returncode, wrong.stdout) == (2, "")
    assert wrong.stderr.startswith(f"distq: {head.url} refuses the token: set RAY_AUTH_TOKEN")
    assert call(head, "jobs").stdout == "No jobs of distq on this cluster\n"

    submitted = call(head, "submit", str(job), "--json")
    assert submitted.stderr == ""
    answer = json.loads(submitted.stdout)
    assert answer["uploaded"] == ["job.yaml", "preprocess/p.py"]
    first = answer["id"]
    deadline = time.monotonic() + SECONDS
    while len(unit_keys(run / "journal.jsonl")) < 3:
        assert time.monotonic() < deadline, call(head, "jobs").stdout
        time.sleep(0.2)
    assert "STOPPED" in call(head, "cancel", first).stdout
    before = unit_keys(run / "journal.jsonl")
    assert not (run / "metrics.json").exists(), "it was cancelled while it ran"
    hold.unlink()

    resumed = call(head, "submit", str(job), "--follow")
    assert resumed.returncode == 0, resumed.stderr
    assert "search: " in resumed.stdout
    assert f"{first}.2 submitted: SUCCEEDED" in resumed.stdout
    after = unit_keys(run / "journal.jsonl")
    assert after[: len(before)] == before
    assert len(after) == len(set(after)), "a finished unit ran again"
    assert len(after) > len(before)

    watched = call(head, "watch", f"{first}.2")
    assert (watched.returncode, watched.stderr) == (0, "")
    assert f"{run}: has finished; best so far: " in watched.stdout

    out = tmp_path / "got"
    assert call(head, "fetch", f"{first}.2", "--out", str(out)).returncode == 0
    direct = distq.tune(
        model=ASSETS / "digits.onnx", data=ASSETS / "labels.txt", preprocess=tmp_path / "p.py",
        allow_code=True, samples=24, tune_samples=16, holdout=8, executor="local", out=tmp_path / "direct",
    )  # fmt: skip
    assert direct.out == tmp_path / "direct"
    for name in ("thresholds.json", "model.int8.onnx", "distributions.npz"):
        assert (out / name).read_bytes() == (tmp_path / "direct" / name).read_bytes()

    job.write_text(JOB.replace("digits.onnx", "none.onnx") + f"out: {run}2\n")
    failed = call(head, "submit", str(job), "--follow")
    assert failed.returncode == 3
    assert "failed on the cluster: cannot read the model" in failed.stderr.splitlines()[-1]


@pytest.mark.cluster
@pytest.mark.skipif(not Path("/proc/self/environ").exists(), reason="processes are looked up in /proc")
def test_a_sweep_is_submitted_and_fetched(head: Head, tmp_path: Path) -> None:
    shutil.copy(ASSETS / "preprocess.yaml", tmp_path / "p.yaml")
    sweep = tmp_path / "sweep.yaml"
    sweep.write_text(
        f"command: calibrate\nmodel: {ASSETS / 'digits.onnx'}\ndata: {ASSETS / 'labels.txt'}\n"
        f"preprocess: p.yaml\nsamples: 16\nholdout: 16\nout: {head.storage / 'sweep'}\n"
        "matrix:\n  method: [kl, mse, max]\n"
    )
    submitted = call(head, "submit", str(sweep), "--follow", "--json")
    assert submitted.returncode == 0, submitted.stderr
    out = tmp_path / "got"
    assert call(head, "fetch", json.loads(submitted.stdout)["id"], "--out", str(out)).returncode == 0
    results = json.loads((out / "results.json").read_bytes())
    assert {row["name"] for row in results["rows"]} == {"kl", "mse", "max"}
    assert (out / "mse" / "model.int8.onnx").stat().st_size > 0
