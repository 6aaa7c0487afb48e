"""A run that is watched fits into a terminal, and into a line of a log."""

from __future__ import annotations

from pathlib import Path

import pytest
from rich.console import Console

from distq.cli.watch_view import line, view
from distq.run.watching import Best, Status, Worker

LONG = "/backbone/" + "deep/" * 30 + "Conv_output_0"

STATUS = Status(
    Path("runs/a"),
    "working",
    command="tune",
    model="model.onnx",
    stage="rounding and bias correction",
    done=12,
    total=31,
    unit="layers",
    rate=0.5,
    left_s=38,
    elapsed_s=75,
    workers=tuple(Worker(f"host{i}, process {i}, node abc", f"score {LONG}" if i else "") for i in range(20)),
    of_workers=20,
    best=Best("started", 3, "36.40 dB"),
    decisions=(f"1 -> 2, smaller diff, 9 scored: {LONG}",) * 5,
    warnings=2,
    warning=f"tensor {LONG} is zero",
)


def test_a_run_that_has_just_begun_says_what_it_does() -> None:
    assert line(Status(Path("runs/a"), "working", command="tune")).endswith("tune runs/a: starts its workers")


@pytest.mark.parametrize(("width", "height"), [(80, 24), (40, 24), (200, 60)])
def test_the_view_fits_into_the_terminal(width: int, height: int) -> None:
    console = Console(width=width, height=height, record=True, force_terminal=True, color_system=None)
    console.print(view(STATUS, height))
    lines = console.export_text().splitlines()
    assert max(map(len, lines)) <= width
    assert len(lines) <= height
    text = "\n".join(lines)
    if width >= 80:
        assert "rounding and bias correction ━" in text
        assert "12/31 layers 2 s/layer, 38 s left" in text
        assert "36.40 dB: started, 3 thresholds moved since" in text
    assert "2 warnings" in text
    shown = sum("process" in one for one in lines)
    assert f"and {20 - shown} more" in text or shown == 20


def test_a_line_says_what_it_is_at_and_the_best_so_far() -> None:
    assert line(STATUS).endswith(
        " tune runs/a: rounding and bias correction 12/31 layers, 2 s/layer, 38 s left; "
        "best so far: 36.40 dB: started, 3 thresholds moved since; 19 of 20 workers busy"
    )
