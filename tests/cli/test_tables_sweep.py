"""The tables of a sweep."""

from __future__ import annotations

import io
from pathlib import Path

import pytest
from rich.console import Console

from distq.cli.tables_sweep import print_sweep_plan, print_sweep_result
from distq.run.results import Accuracy
from distq.sweeps.plan import PlannedRun, SweepPlan
from distq.sweeps.results import SweepResult, SweepRow


@pytest.fixture
def console():
    return Console(file=io.StringIO(), width=80, color_system=None)


def row(name, network, **fields):
    return SweepRow(name=name, network=network, command="tune", varied={}, out=Path("o") / name, **fields)


def test_a_table_a_network_the_front_marked_and_failures_below(console):
    accuracy = Accuracy(nmse=0.001, sqnr_db=30.0, cosine=1.0, top1=0.75)
    figures = {"images": 300, "accuracy": accuracy, "float_layers": 2, "seconds": 61.0}
    rows = (
        row("squeezenet1.1-percentile-symmetric", 0, best_for_time=True, **figures),
        row("squeezenet1.1-kl-auto", 0, best_for_float_layers=True, **figures),
        row("head-kl-auto", 1, images=None, float_layers=0, seconds=0.5),
        row("head-mse-auto", 1, error="no such file"),
    )
    print_sweep_result(
        SweepResult(out=Path("o"), rows=rows, seconds=70, files=(Path("o/results.csv"),)), console
    )
    lines = console.file.getvalue().splitlines()
    assert all(len(line) <= 80 for line in lines)
    first = next(line for line in lines if "1 min 01 s *" in line)
    assert [cell.strip() for cell in first.split("│")[2:-1]] == [
        "75.00%",
        "30.00",
        "0.001",
        "2",
        "1 min 01 s *",
    ]
    assert any("2 *" in line for line in lines)
    titles = [line.strip() for line in lines if "held out" in line.lower()]
    assert titles == ["On 300 samples held out", "Nothing held out"]
    assert "failed: head-mse-auto: no such file" in lines
    assert "3 of 4 runs complete, 1 min 10 s" in lines
    assert lines[-1] == "  o/results.csv"


def test_a_plan_shows_what_is_to_do(console):
    runs = (
        PlannedRun(name="a", command="tune", out=Path("o/a"), fp32_forwards=1000, int8_forwards=2000),
        PlannedRun(
            name="b", command="tune", out=Path("o/b"), fp32_forwards=900, shared_forwards=200, int8_forwards=7
        ),
        PlannedRun(name="c", command="tune", out=Path("o/c"), finished=True, fp32_forwards=5),
        PlannedRun(name="d", command="tune", out=Path("o/d"), error="no such file"),
    )
    print_sweep_plan(SweepPlan(out=Path("o"), runs=runs), console)
    shown = console.file.getvalue()
    assert "cannot start: d: no such file" in shown
    assert "2 runs to do: 1,700 float and about 2,007 INT8 forwards" in shown
    assert [word in shown for word in ("to do", "finished", "cannot start")] == [True] * 3
