"""Ctrl-C before a job runs: while modules load, and what loads them."""

from __future__ import annotations

import signal
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from distq.cli import app as cli

PYPROJECT = Path(__file__).parents[1] / "pyproject.toml"
EXTENSION = "onnx.onnx_cpp2py_export"
DOCTOR = """
from {module} import {function}
assert not {{"typer", "pydantic", "importlib.metadata"}} & sys.modules.keys(), "what comes before is short"
signal.signal(signal.SIGINT, signal.default_int_handler)  # the tests may run where it is ignored
sys.argv = ["distq", "doctor"]
{function}()
"""


def doctor_after(setup: str) -> tuple[int, str, str]:
    """Exit code, stdout and stderr of ``distq doctor`` in a process that ran other code before."""
    entry = tomllib.loads(PYPROJECT.read_text())["project"]["scripts"]["distq"]
    module, _, function = entry.partition(":")
    code = setup + DOCTOR.format(module=module, function=function)
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)  # noqa: S603  # our own code
    return run.returncode, run.stdout, run.stderr


def test_help_loads_neither_ray_nor_onnx_runtime() -> None:
    code = (
        "import sys, distq.cli.app; distq.cli.app.invoke(['tune', '--help']);"
        "sys.exit(any(name in sys.modules for name in ('ray', 'onnxruntime', 'onnx', 'cv2')))"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, check=False)  # noqa: S603  # our own code
    assert run.returncode == 0


@pytest.mark.parametrize("loading", ["typer", "distq.cli.tables", "distq.jobs.doctor", EXTENSION])
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_ctrl_c_while_modules_load(number: signal.Signals, loading: str) -> None:
    setup = f"""
import importlib.abc, os, signal, sys

class Interrupting(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        if name == {loading!r}:
            os.kill(os.getpid(), {int(number)})
            sys.meta_path.remove(self)

sys.meta_path.insert(0, Interrupting())
"""
    assert doctor_after(setup) == (130, "", "distq: interrupted\n")


@pytest.mark.parametrize("step", ["create_dynamic", "exec_dynamic"])
def test_ctrl_c_waits_until_an_extension_module_has_loaded(step: str) -> None:
    setup = f"""
import _imp, os, signal, sys

def interrupting(loaded, *rest, run=_imp.{step}):
    wanted = {EXTENSION!r} in (getattr(loaded, "name", None), getattr(loaded, "__name__", None))
    if wanted:
        os.kill(os.getpid(), signal.SIGINT)
    result = run(loaded, *rest)
    if wanted:
        os.write(1, b"loaded")
    return result

_imp.{step} = interrupting
"""
    assert doctor_after(setup) == (130, "loaded", "distq: interrupted\n")


def test_ctrl_c_before_a_job_begins(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def stop(_address: str | None) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("distq.jobs.doctor.examine", stop)
    assert cli.invoke(["doctor"]) == 130
    assert capsys.readouterr() == ("", "distq: interrupted\n")
