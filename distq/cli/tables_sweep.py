"""The tables of ``distq sweep``."""

from __future__ import annotations

import itertools

from rich.console import Console
from rich.table import Table
from rich.text import Text

from distq.cli.console import duration
from distq.cli.tables import print_files
from distq.errors import plural
from distq.sweeps.plan import SweepPlan
from distq.sweeps.results import SweepResult, SweepRow


def print_sweep_result(result: SweepResult, console: Console | None = None) -> None:
    """Show a table a network, the closest to float first, and what failed."""
    console = console or Console()
    complete = [row for row in result.rows if row.error is None]
    for _, rows in itertools.groupby(complete, key=lambda row: row.network):
        console.print()
        console.print(_network_table(list(rows)))
    if any(row.best_for_time or row.best_for_float_layers for row in complete):
        console.print(
            "* on the Pareto front: no run of its network is as close for less, or closer for as much"
        )
    for row in result.failed:
        console.print(Text.assemble(("failed: ", "red"), f"{row.name}: {row.error}"), soft_wrap=True)
    done = f"{len(complete)} of {plural(len(result.rows), 'run')} complete"
    console.print(f"{done}, {duration(result.seconds)}", highlight=False)
    print_files(result.files, console)


def _network_table(rows: list[SweepRow]) -> Table:
    images = next((row.images for row in rows if row.images is not None), None)
    title = "Nothing held out" if images is None else f"On {plural(images, 'sample')} held out"
    top1 = any(row.accuracy is not None and row.accuracy.top1 is not None for row in rows)
    table = Table(title=title, title_justify="left", title_style="bold")
    table.add_column("run", overflow="fold")
    for column in (*(["top-1"] if top1 else []), "SQNR dB", "NMSE", "float layers", "time"):
        table.add_column(column, justify="right", no_wrap=column != "float layers")
    for row in rows:
        table.add_row(*map(Text, _cells(row, top1=top1)))
    return table


def _cells(row: SweepRow, *, top1: bool) -> list[str]:
    found = row.accuracy
    rate = [] if not top1 else ["-" if found is None or found.top1 is None else f"{found.top1:.2%}"]
    closeness = ["-", "-"] if found is None else [f"{found.sqnr_db:.2f}", f"{found.nmse:.3g}"]
    layers = f"{row.float_layers} {'*' if row.best_for_float_layers else ' '}"
    took = f"{duration(row.seconds or 0.0)} {'*' if row.best_for_time else ' '}"
    return [row.name, *rate, *closeness, layers, took]


def print_sweep_plan(plan: SweepPlan, console: Console | None = None) -> None:
    """Show the runs in their order, their forwards, and the sum."""
    console = console or Console()
    table = Table(title=f"Runs below {plan.out}", title_justify="left", title_style="bold")
    table.add_column("run", overflow="fold")
    for column in ("float forwards", "of these shared", "INT8 forwards"):
        table.add_column(column, justify="right")
    table.add_column("state", no_wrap=True)
    for run in plan.runs:
        note = "cannot start" if run.error is not None else "finished" if run.finished else "to do"
        counts = (run.fp32_forwards, run.shared_forwards, run.int8_forwards)
        table.add_row(*map(Text, (run.name, *(f"{count:,}" for count in counts), note)))
    console.print(table)
    for run in plan.runs:
        if run.error is not None:
            console.print(
                Text.assemble(("cannot start: ", "red"), f"{run.name}: {run.error}"), soft_wrap=True
            )
    runs = sum(not run.finished and run.error is None for run in plan.runs)
    total = f"{plan.fp32_forwards:,} float and about {plan.int8_forwards:,} INT8 forwards"
    console.print(f"{plural(runs, 'run')} to do: {total}", highlight=False)
