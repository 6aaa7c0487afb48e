"""scripts/gpu_check: what of it can be known without a GPU."""

from __future__ import annotations

import io
import subprocess
import sys
from pathlib import Path

import pytest
from rich.console import Console

SCRIPTS = Path(__file__).parents[1] / "scripts"
sys.path.append(str(SCRIPTS))

import gpu_check  # noqa: E402  # a script, not a package


def test_thresholds_are_compared_relative_to_the_processors():
    cpu = {"a": 2.0, "b": 0.5, "c": 10.0, "d": 4.0}
    gpu = {"a": 2.0, "b": 0.51, "c": 9.5, "d": 4.004}
    found = gpu_check.agreement(cpu, gpu, 0.01)
    assert found.tensors == 4
    assert found.largest == pytest.approx(0.05)
    assert found.beyond == ("c", "b")
    assert gpu_check.agreement(cpu, cpu, 0.0) == gpu_check.Agreement(4, 0.0, ())


def test_a_threshold_that_is_no_number_does_not_agree():
    assert gpu_check.agreement({"a": 1.0}, {"a": float("nan")}, 0.01).beyond == ("a",)


def test_other_tensors_are_not_compared():
    with pytest.raises(ValueError, match="b"):
        gpu_check.agreement({"a": 1.0}, {"a": 1.0, "b": 1.0}, 0.01)


def test_the_table_has_a_line_a_network():
    row = gpu_check.Row("net", gpu_check.Agreement(20, 0.0123, ("x",)), {1: 100.0, 2: 150.0})
    stream = io.StringIO()
    Console(file=stream, width=120).print(gpu_check.table([row], 0.01))
    line = next(line for line in stream.getvalue().splitlines() if "net " in line)
    assert [cell.strip() for cell in line.strip("│").split("│")] == [
        "net", "20", "1.2300%", "1", "100.0", "150.0", "1.50",
    ]  # fmt: skip


def test_without_a_gpu_it_says_so_in_one_line():
    done = subprocess.run(  # noqa: S603  # our own script
        [str(SCRIPTS / "gpu_check")], capture_output=True, text=True, check=False,
        env={"PYTHON": sys.executable, "PATH": "/usr/bin:/bin"},
    )  # fmt: skip
    if done.returncode == 0:
        pytest.skip("there is a GPU")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("gpu_check: ONNX Runtime finds no CUDA device here: run this on a machine")
    assert len(done.stderr.splitlines()) == 1


@pytest.mark.usefixtures("ray_session")
def test_a_device_agrees_with_itself_and_both_rates_are_measured():
    row = gpu_check.check(gpu_check.job_options(None, 16), "cpu", 0.0, 32)
    assert row.network == "digits"
    assert (row.agreement.tensors > 5, row.agreement.largest, row.agreement.beyond) == (True, 0.0, ())
    assert set(row.rates) == {1, 2}
    assert all(rate > 0 for rate in row.rates.values())
