"""Tables of figures: measures, speed, and what parts of a network cost."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import compress

from rich.console import Console
from rich.table import Table
from rich.text import Text

from distq.engine.progress import folded
from distq.errors import plural
from distq.run.figures import ComparedFigures, MeasureFigures, Speed
from distq.run.results import DiffResult

_NAMED = frozenset({"layer", "tensor", "added", "model", "measure", "figure"})
"""Columns of names."""

_SHOWN_GROUPS = 5
"""So many layers of several nodes are named."""


def figures_table(title: str, columns: Sequence[str], rows: Sequence[Sequence[str]]) -> Table:
    """Names on the left, numbers on the right; a column in which no row has anything is left out."""
    table = Table(title=title, title_justify="left", title_style="bold")
    filled = [not rows or any(row[i] for row in rows) for i in range(len(columns))]
    for column in compress(columns, filled):
        named = column in _NAMED
        table.add_column(column, justify="left" if named else "right", overflow="fold", no_wrap=not named)
    for row in rows:
        table.add_row(*map(Text, compress(row, filled)))
    return table


def number(value: float | None) -> str:
    """A figure of any size; nothing where there is none."""
    return "" if value is None else f"{value:.6g}"


def compared_table(measures: Sequence[ComparedFigures]) -> Table:
    """The figures of each measure of a run, a line each."""
    rows = [
        (
            found.measure if i == 0 else "",
            name,
            number((found.float or {}).get(name)),
            number(value),
            number((found.after or {}).get(name)),
        )
        for found in measures
        for i, (name, value) in enumerate(found.before.items())
    ]
    return figures_table("Measures", ("measure", "figure", "float", "calibrated", "tuned"), rows)


def measures_table(measures: Sequence[MeasureFigures]) -> Table:
    """The figures of each measure, a line each."""
    rows = [
        (found.measure if i == 0 else "", name, number((found.against or {}).get(name)), number(value))
        for found in measures
        for i, (name, value) in enumerate(found.candidate.items())
    ]
    return figures_table("Measures", ("measure", "figure", "float", "candidate"), rows)


def speed_table(speed: Speed, name_of_candidate: str = "candidate") -> Table:
    """Latency, memory and size of the models that were timed, and how many times as fast as float each is."""
    columns = ("model", "median ms", "10 to 90 %", "memory MB", "file MB", "times float")
    rows = []
    timed = (("float", speed.against, None), (name_of_candidate, speed.candidate, speed.ratio))
    for name, model, ratio in timed:
        if model is not None:
            spread = f"{model.low_ms:.2f} to {model.high_ms:.2f}"
            sizes = (f"{model.memory_mb:.1f}", f"{model.file_mb:.2f}")
            times = "" if ratio is None else f"{ratio:.2f}"
            rows.append((name, f"{model.median_ms:.2f}", spread, *sizes, times))
    provider = speed.provider.removesuffix("ExecutionProvider")
    title = f"One sample on {provider}, {plural(speed.threads, 'thread')}, {plural(speed.runs, 'run')}"
    return figures_table(title, columns, rows)


def print_diff_details(result: DiffResult, console: Console) -> None:
    """Show the mean loss where a measure was named, and what layers or tensors cost where asked for."""
    by_measure = result.diff is not None
    if by_measure:
        console.print(f"diff of the measure: {number(result.diff)}", highlight=False)
    if result.steps:
        columns = ("layer", "SQNR dB", "NMSE", *(["diff"] if by_measure else []))
        steps = [
            (s.layer, f"{s.sqnr_db:.2f}", f"{s.nmse:.3g}", *([number(s.diff)] if by_measure else []))
            for s in result.steps
        ]
        console.print(figures_table("INT8 from the first layer to", columns, steps))
        unit = "" if by_measure else " dB"
        grew = [(s.layer, f"{s.before:.4g}", f"{s.after:.4g}") for s in result.largest]
        console.print(figures_table("The largest steps", ("layer", f"from{unit}", f"to{unit}"), grew))
    for line in _folded_lines(result):
        console.print(Text(line), soft_wrap=True)
    if result.tensors:
        if by_measure:
            columns = ("tensor", "bits", "alone", "without it", "part of diff")
            errors = [(number(t.alone_diff), number(t.without_diff)) for t in result.tensors]
        else:
            columns = ("tensor", "bits", "alone dB", "without it dB", "part of NMSE")
            errors = [(f"{t.alone_sqnr_db:.2f}", f"{t.without_sqnr_db:.2f}") for t in result.tensors]
        costs = [
            (t.tensor, str(t.bits), *error, f"{t.part:.1%}")
            for t, error in zip(result.tensors, errors, strict=True)
        ]
        console.print(figures_table("What each tensor costs, the worst first", columns, costs))


def _folded_lines(result: DiffResult) -> list[str]:
    """What cannot be told apart: the names of layers that are several nodes."""
    lines = []
    for layer, names in list(result.folded.items())[:_SHOWN_GROUPS]:
        lines += folded(f"One layer, in INT8 together: {', '.join((layer, *names))}", "  ")
    if (more := len(result.folded) - _SHOWN_GROUPS) > 0:
        lines.append(f"and {plural(more, 'layer')} more of several nodes: --json has all")
    return lines
