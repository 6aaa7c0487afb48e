"""What ``distq auto`` shows on a narrow terminal."""

from __future__ import annotations

import io
from pathlib import Path

from rich.console import Console

from distq.cli.auto import print_auto_result
from distq.run.auto_report import AutoReport, Reason, TriedNetwork, short_name
from distq.run.results import Cost, RunResult

LAYERS = [f"/model/backbone/stage{i}/conv{i}/Conv_output_0" for i in range(12)]


def test_a_name_lists_three_layers_of_many() -> None:
    assert short_name("INT8; float a, b, c, d") == "INT8; float a, b, c, d"
    assert short_name("INT8; 16 bits for q; float a, b, c, d, e, searched") == (
        "INT8; 16 bits for q; float a, b, c and 2 more, searched"
    )


def test_what_is_shown_of_a_large_network_fits_80_columns() -> None:
    name = f"INT8; float {', '.join(LAYERS)}"
    tried = TriedNetwork(
        name=name, options={}, searched=False, reading=31.0, samples=64, met=True, dropped=False,
        macs=0.5, layers=12, float_layers=tuple(LAYERS),
    )  # fmt: skip
    reasons = [Reason(name=n, kind="float", without_sqnr_db=9.0, text=f"float for {n}: why") for n in LAYERS]
    report = AutoReport(
        goal="sqnr:30", measure="SQNR dB", cost="macs", reached=True, complete=False, chosen=name,
        command="calibrate", tried=(tried,), reasons=tuple(reasons), not_made={"method=kl": "word " * 40},
    )  # fmt: skip
    cost = Cost(fp32_forwards=1, int8_forwards=1, seconds=1, workers=1, peak_rss_mb=1)
    written = io.StringIO()
    result = RunResult(out=Path("RUN"), files=(), holdout=None, tuning=None, cost=cost, auto=report)
    print_auto_result(result, Console(file=written, width=80))
    lines = written.getvalue().splitlines()
    assert max(map(len, lines)) <= 80
    assert any("and 9 more meets sqnr:30" in line for line in lines)
    assert any(line.startswith("could not be made: method=kl: word") for line in lines)
