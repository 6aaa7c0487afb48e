"""``distq auto`` on the command line: what was tried as a table, the answer, and its reasons."""

from __future__ import annotations

from functools import partial

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from distq.cli.flags import Output
from distq.cli.perform import perform
from distq.cli.tables import print_run_result
from distq.config import AutoOptions
from distq.engine.progress import folded
from distq.errors import DistqError
from distq.run.auto_report import AutoReport, TriedNetwork, price_of, short_name
from distq.run.results import RunResult


def run_auto(options: AutoOptions, output: Output) -> None:
    """Run the job and print what it found; a goal that no network meets ends with exit code 3.

    Raises:
        DistqError: the goal was not reached; the files of the closest network are in RUN.
    """
    from distq.jobs.auto import auto as job  # noqa: PLC0415  # loads ONNX Runtime and Ray

    result = perform(partial(job, options, clock=output.clock), print_auto_result, output, resumable=True)
    report = result.auto
    if report is not None and not report.reached:
        for obstacle in report.obstacles:
            _say(f"in the way: {obstacle}")
        raise DistqError(
            f"--goal {report.goal} was not reached: {_reading(report.answer)} {report.measure} is closest"
        )


def _say(text: str) -> None:
    for line in folded(text, "  "):
        typer.echo(line, err=True)


def print_auto_result(result: RunResult, console: Console | None = None) -> None:
    """Show what was tried, what was chosen and why, and then what ``tune`` shows."""
    console = console or Console()
    report = result.auto
    if report is not None:
        console.print()
        console.print(_tried_table(report))
        verdict = "meets" if report.reached else "does not meet"
        lines = folded(f"{short_name(report.chosen)} {verdict} {report.goal}", "  ")
        lines += ["Not all was tried"] * (not report.complete)
        for name, why in report.not_made.items():
            lines += folded(f"could not be made: {name}: {why}", "  ")
        for reason in report.reasons:
            lines += folded(f"  {reason.text}", "    ")
        for line in lines:
            console.print(Text(line), soft_wrap=True)
    print_run_result(result, console)


def _tried_table(report: AutoReport) -> Table:
    """A line a network, the cheapest first; * marks those that no other beats."""
    table = Table(title="On the samples tuned on", title_justify="left", title_style="bold")
    table.add_column("network", overflow="fold")
    timed = ("ms",) if report.cost == "latency" else ()
    for column in (report.measure, "MACs", "layers", *timed, "goal", ""):
        table.add_column(column, justify="right", no_wrap=True)
    for one in sorted(report.tried, key=lambda one: price_of(one, report.cost)):
        verdict = "met" if one.met else "given up" if one.dropped else "missed"
        mark = "*" if one.pareto else ""
        took = ("" if one.latency_ms is None else f"{one.latency_ms:.3g}",) if timed else ()
        cells = (
            short_name(one.name),
            _reading(one),
            f"{one.macs:.1%}",
            str(one.layers),
            *took,
            verdict,
            mark,
        )
        table.add_row(*map(Text, cells))
    return table


def _reading(network: TriedNetwork) -> str:
    return "inf" if network.reading is None else f"{network.reading:.2f}"
