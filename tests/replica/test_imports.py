"""What a worker loads before it can start: every worker of a job waits for it."""

from __future__ import annotations

import subprocess
import sys

SCRIPT = """
import importlib, pkgutil, sys
import distq.engine.ray_actor
import distq.replica
for module in pkgutil.iter_modules(distq.replica.__path__):
    importlib.import_module(f"distq.replica.{module.name}")
print(sorted({"onnx_ir", "ray", "sympy", "typer"} & sys.modules.keys()))
"""


def test_workers_load_nothing_that_only_the_driver_needs():
    done = subprocess.run([sys.executable, "-c", SCRIPT], capture_output=True, text=True, check=True)  # noqa: S603  # our own interpreter
    assert done.stdout.strip() == "[]"
