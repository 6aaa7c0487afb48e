"""Ray as distq starts it: what a person sees of it, and what is left behind."""

from __future__ import annotations

import os
import secrets
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

SCRIPT = """
import os, sys
sys.path[:0] = [{folder!r}]
from engine_units import Slow
from distq.engine.ray_pool import RayExecutor
from distq.errors import UsageError
from distq.replica.worker import WorkerSettings
try:
    RayExecutor(1, WorkerSettings(), address="127.0.0.1:1")
except UsageError as error:
    print(error, flush=True)
try:
    with RayExecutor(3, WorkerSettings(), on_event=print) as executor:
        quick = [Slow(number) for number in range(9)]
        print(sum(int(arrays["square"][0]) for _, arrays in executor.run(quick)))
        for _, arrays in executor.run([Slow(1), *(Slow(number, seconds=300) for number in range(5))]):
            print("running", flush=True)
except KeyboardInterrupt:
    print("interrupted")
print([name for name in os.listdir(os.environ["TMPDIR"]) if "ray" in name or "distq" in name])
"""


def processes_with(mark: str) -> list[str]:
    """Command lines of all processes that inherited an environment with ``mark`` in it."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            if mark.encode() in (folder / "environ").read_bytes():
                found.append((folder / "cmdline").read_text())
        except OSError:
            continue
    return found


@pytest.mark.cluster
@pytest.mark.skipif(not Path("/proc/self/environ").exists(), reason="processes are looked up in /proc")
def test_ctrl_c_ends_ray_quietly_and_leaves_nothing(tmp_path_factory: pytest.TempPathFactory) -> None:
    mark = secrets.token_hex(32)
    folder = tmp_path_factory.mktemp("t")
    environment = {**os.environ, "RAY_AUTH_TOKEN": mark, "TMPDIR": str(folder), "HOME": str(folder)}
    environment.pop("RAY_ADDRESS", None)
    environment["PYTHONPATH"] = str(Path(__file__).parent)  # actors import the tests' units
    child = subprocess.Popen(  # noqa: S603  # our own interpreter and script
        [sys.executable, "-c", SCRIPT.format(folder=str(Path(__file__).parent))],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    assert child.stdout is not None
    lines = []
    for line in child.stdout:
        lines.append(line.strip())
        if line == "running\n":
            running = processes_with(mark)
            assert len(running) > 3, "this test can see Ray's processes"
            unused = ("dashboard.py", "monitor.py")  # nobody looks at this Ray, and it does not grow
            assert not [command for command in running if any(name in command for name in unused)]
            os.killpg(child.pid, signal.SIGINT)  # as a terminal does
    assert child.stderr is not None
    assert child.stderr.read() == ""
    assert child.wait() == 0
    assert lines[0].startswith(
        "no Ray cluster at --address 127.0.0.1:1: [Errno 111] Connection refused; start it"
    )
    assert lines[1:] == [str(sum(number**2 for number in range(9))), "running", "interrupted", "[]"]
    for _ in range(100):
        if not processes_with(mark):
            break
        time.sleep(0.1)
    assert processes_with(mark) == []
