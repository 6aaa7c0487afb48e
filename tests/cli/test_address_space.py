"""``ulimit -v``: refused before libraries are loaded, which end the process where it is too small."""

from __future__ import annotations

import resource
import subprocess
import sys
from pathlib import Path

import pytest


@pytest.mark.skipif(sys.platform != "linux", reason="other systems do not keep to the limit")
@pytest.mark.parametrize(
    ("executor", "remedy"),
    [("local", "needs 1024: raise it\n"), ("ray", "needs 16384: raise it, or take --executor")],
)
def test_too_small_an_address_space_is_said(tmp_path: Path, executor: str, remedy: str) -> None:
    limit = 512 << 20
    run = subprocess.run(  # noqa: S603  # our own interpreter
        [sys.executable, "-m", "distq", "calibrate", "m.onnx", "--out", "run", "--executor", executor],
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_AS, (limit, limit)),  # no threads here
        capture_output=True,
        text=True,
        check=False,
        cwd=tmp_path,
    )
    assert (run.returncode, run.stdout) == (2, "")
    assert run.stderr.startswith("distq: ulimit -v gives 512 MiB of address space, distq needs")
    assert remedy in run.stderr
    assert run.stderr.count("\n") == 1
