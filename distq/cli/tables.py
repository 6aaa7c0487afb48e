"""Results as tables on stdout."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from datetime import datetime
from io import StringIO
from pathlib import Path
from typing import TYPE_CHECKING

import yaml
from rich.console import Console
from rich.table import Table
from rich.text import Text

from distq.cli.console import duration
from distq.cli.tables_figures import (
    compared_table,
    figures_table,
    measures_table,
    print_diff_details,
    speed_table,
)
from distq.errors import plural
from distq.run.results import (
    Accuracy,
    Comparison,
    Cost,
    CurvePoint,
    DiffResult,
    EvaluateResult,
    FloatAccuracy,
    FloatLayer,
    RunResult,
)

if TYPE_CHECKING:
    from distq.data.build import BuildReport
    from distq.data.info import SourceInfo
    from distq.engine.ray_jobs import ClusterJob
    from distq.jobs.dataset_info import DataInfo
    from distq.jobs.demo import DemoResult
    from distq.jobs.doctor import DoctorReport
    from distq.jobs.fetch import FetchResult
    from distq.jobs.submit import SubmitResult

_COLUMNS = ("top-1", "top-5", "SQNR dB", "NMSE", "cosine")
_MARKS = {"ok": ("ok", "green"), "warn": ("warn", "yellow"), "missing": ("MISSING", "red")}
_NAMES_SHOWN = 3  # of the layers that share a reason


def print_run_result(result: RunResult, console: Console | None = None) -> None:
    """Show accuracy, layers left float, warnings, cost and the files of calibrate or tune."""
    console = console or Console()
    comparison = result.holdout or result.tuning
    if comparison is not None:
        console.print()
        console.print(_comparison_table(comparison, held_out=result.holdout is not None))
        if comparison.measures:
            console.print(compared_table(comparison.measures))
    if result.curve:
        console.print(_curve_table(result.curve))
    if (ran := result.integer_kernels) is not None:
        console.print(
            f"Integer kernels: {ran.layers} of {plural(ran.of, 'layer')}, "
            f"{100 * ran.multiplications:.1f} % of the multiplications",
            highlight=False,
        )
    if result.speed is not None:
        console.print(speed_table(result.speed, "INT8"))
    print_float_layers(result.float_layers, console)
    for warning in result.warnings:
        console.print(Text.assemble(("warning: ", "yellow"), warning), soft_wrap=True)
    for line in cost_lines(result.cost):
        console.print(line, highlight=False)
    print_files(result.files, console)


def cost_lines(cost: Cost) -> list[str]:
    """What the job took and, behind a search, how that compares with a loop over the same candidates."""
    forwards = f"{_count(cost.fp32_forwards)} float and {_count(cost.int8_forwards)} INT8 forwards"
    workers = plural(cost.workers, "worker")
    lines = [f"Cost: {forwards}, {duration(cost.seconds)}, {workers}, {cost.peak_rss_mb:,.0f} MB peak"]
    search = cost.search
    if search is not None and search.candidates:
        scored = f"{plural(search.candidates, 'candidate')} scored, {search.dropped:,} dropped early"
        ran = f"{_count(search.int8_forwards)} INT8 forwards, {duration(search.seconds)}"
        times = search.serial_forwards / search.int8_forwards if search.int8_forwards else math.inf
        serial = f"{search.serial_forwards:,} INT8 forwards, {times:.1f}x as many"
        lines += [f"Search: {scored}, {ran}", f"Serial loop over the same candidates: {serial}"]
    return lines


def print_evaluate_result(result: EvaluateResult, console: Console | None = None) -> None:
    """Show the accuracy of one model and, where it was compared, of the float model."""
    console = console or Console()
    models = {"float": result.against, "candidate": result.candidate}
    console.print()
    if any(accuracy is not None for accuracy in models.values()):
        console.print(_accuracy_table(f"On {plural(result.images, 'sample')}", models))
    if result.measures:
        console.print(measures_table(result.measures))
    if result.speed is not None:
        console.print(speed_table(result.speed))


def print_diff_result(result: DiffResult, console: Console | None = None) -> None:
    """Show the error of the whole network, and of its layers or tensors where that was asked for."""
    console = console or Console()
    layers = "all layers" if result.layers is None else ", ".join(result.layers)
    console.print()
    console.print(
        _accuracy_table(f"On {plural(result.images, 'sample')}, {layers} in INT8", {"INT8": result.network})
    )
    print_diff_details(result, console)


def _curve_table(curve: Sequence[CurvePoint]) -> Table:
    rows = []
    for point in curve:
        added = [f"{name} in 16 bit" for name in point.int16] + [f"{n} in float" for n in point.float_layers]
        rows.append(
            (str(point.budget), added[-1] if added else "", f"{point.sqnr_db:.2f}", f"{point.nmse:.3g}")
        )
    return figures_table("On the samples tuned on", ("budget", "added", "SQNR dB", "NMSE"), rows)


def print_files(files: tuple[Path, ...], console: Console) -> None:
    """Show the files written, each on a line of its own that can be copied."""
    if files:
        console.print("Written:")
    for path in files:
        console.print(Text(f"  {path}"), soft_wrap=True)


def print_float_layers(layers: tuple[FloatLayer, ...], console: Console) -> None:
    """Show how many layers stay float for each reason, and the first few by name."""
    reasons: dict[str, list[str]] = {}
    for layer in layers:
        reasons.setdefault(layer.reason, []).append(layer.name)
    if reasons:
        verb = "stays" if len(layers) == 1 else "stay"
        console.print(f"{plural(len(layers), 'layer')} {verb} float:")
    for reason, names in reasons.items():
        shown = ", ".join(names[:_NAMES_SHOWN])
        more = f" and {len(names) - _NAMES_SHOWN} more" if len(names) > _NAMES_SHOWN else ""
        console.print(Text(f"  {reason}: {shown}{more}"))


def _comparison_table(comparison: Comparison, *, held_out: bool) -> Table:
    images = plural(comparison.images, "sample")
    where = f"On {images} held out" if held_out else f"On the {images} tuned on (none were held out)"
    models = {"float": comparison.float, "calibrated": comparison.before, "tuned": comparison.after}
    return _accuracy_table(where, models)


def _accuracy_table(title: str, models: Mapping[str, Accuracy | FloatAccuracy | None]) -> Table:
    """One row per model that is there, one column per number that any of them has."""
    rows = {name: _cells(accuracy) for name, accuracy in models.items() if accuracy is not None}
    table = Table(title=title, title_justify="left", title_style="bold")
    table.add_column("model")
    columns = [column for column in _COLUMNS if any(cells[column] for cells in rows.values())]
    for column in columns:
        table.add_column(column, justify="right", no_wrap=True)
    for name, cells in rows.items():
        table.add_row(name, *(cells[column] for column in columns))
    return table


def _cells(accuracy: Accuracy | FloatAccuracy) -> dict[str, str]:
    cells = dict.fromkeys(_COLUMNS, "")
    cells["top-1"], cells["top-5"] = _percent(accuracy.top1), _percent(accuracy.top5)
    if isinstance(accuracy, Accuracy):
        cells["SQNR dB"] = f"{accuracy.sqnr_db:.2f}"
        cells["NMSE"] = f"{accuracy.nmse:.3g}"
        cells["cosine"] = f"{accuracy.cosine:.6f}"
    return cells


def _percent(share: float | None) -> str:
    return "" if share is None else f"{share:.2%}"


def _count(forwards: float) -> str:
    return f"{forwards:,.0f}" if forwards >= 10 or forwards == int(forwards) else f"{forwards:.1f}"


def print_doctor_report(report: DoctorReport, console: Console | None = None) -> None:
    """Show each check with a mark, and the remedy under what needs one."""
    console = console or Console()
    grid = Table.grid(padding=(0, 2))
    for check in report.checks:
        mark, style = _MARKS[check.status]
        grid.add_row(Text(mark, style=style), check.name, Text(check.value))
        if check.remedy:
            grid.add_row("", "", Text(f"→ {check.remedy}"))
    console.print(grid)


def print_demo_result(result: DemoResult, console: Console | None = None) -> None:
    """Show the run of the demo and everything it wrote."""
    print_run_result(result.run.model_copy(update={"files": result.files}), console)


def print_build_report(report: BuildReport, console: Console | None = None) -> None:
    """Show how many records were written and where."""
    console = console or Console()
    skipped = f", {plural(report.skipped, 'unreadable sample')} left out" if report.skipped else ""
    text = f"{report.database}: {plural(report.written, 'record')}{skipped}"
    console.print(Text(text), soft_wrap=True)


def print_source_info(info: SourceInfo, console: Console | None = None) -> None:
    """Show kind, size, labels and the first samples of a data source."""
    console = console or Console()
    labels = "with labels" if info.labels else "without labels"
    labels += " and with boxes" if info.boxes else ""
    text = f"{info.source}: {info.kind}, {plural(info.count, 'sample')} {labels}, {_size(info.bytes)}"
    if info.hidden:
        text += f"; {plural(info.hidden, 'hidden file')} left out"
    console.print(Text(text), soft_wrap=True)
    for name, shapes in zip(info.names, info.shapes, strict=True):
        console.print(Text(f"  {name}  {', '.join(shapes)}"), soft_wrap=True)
    if info.count > len(info.names):
        console.print(f"  and {info.count - len(info.names):,} more", highlight=False)


def print_data_info(info: DataInfo, console: Console | None = None) -> None:
    """Show a source, and the preprocessing as YAML; with preprocessing all else is a comment of it."""
    if info.preprocessing is None and info.source is not None:
        print_source_info(info.source, console)
        return
    console = console or Console()
    comments = list(info.notes)
    if info.plugin is not None:
        comments.append(f"{info.plugin}: a Python plug-in, which runs with --allow-code; steps are not known")
    if info.source is not None:
        written = StringIO()
        print_source_info(info.source, Console(file=written))
        comments += written.getvalue().splitlines()
    for comment in comments:
        console.print(Text(f"# {comment}"), soft_wrap=True)
    if info.preprocessing is not None:
        text = yaml.safe_dump(
            dict(info.preprocessing), sort_keys=False, default_flow_style=None, width=1 << 16
        )
        console.print(Text(text.rstrip()), soft_wrap=True)


def _size(count: int) -> str:
    for unit, size in (("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10)):
        if count >= size:
            return f"{count / size:.1f} {unit}"
    return plural(count, "byte")


def print_submit_result(result: SubmitResult, console: Console | None = None) -> None:
    """Show the id to ask for, what travelled, and where RUN will be."""
    console = console or Console()
    verb = "was running already" if result.attached else "submitted"
    console.print(Text(f"{result.id} {verb}: {result.status}"), soft_wrap=True)
    if result.uploaded:
        console.print(Text(f"  uploaded: {', '.join(result.uploaded)}"), soft_wrap=True)
    if result.run:
        console.print(Text(f"  RUN on the cluster: {result.run}"), soft_wrap=True)


def print_jobs(jobs: Sequence[ClusterJob], console: Console | None = None) -> None:
    """Show the jobs of a cluster, one a line."""
    console = console or Console()
    if not jobs:
        console.print("No jobs of distq on this cluster")
    for job in jobs:
        print_job(job, console)


def print_job(job: ClusterJob, console: Console | None = None) -> None:
    """Show one job of a cluster."""
    console = console or Console()
    started = "" if job.started is None else datetime.fromtimestamp(job.started).astimezone()
    took = "" if job.started is None or job.ended is None else duration(job.ended - job.started)
    parts = (job.id, job.status, f"{started:%Y-%m-%d %H:%M}" if started else "", took)
    about = (job.metadata.get(name, "") for name in ("command", "run"))
    console.print(Text("  ".join(part for part in (*parts, *about) if part)), soft_wrap=True)


def print_fetch_result(result: FetchResult, console: Console | None = None) -> None:
    """Show the files that came."""
    console = console or Console()
    if not result.finished:
        console.print(Text(f"{result.id} did not finish: these are the files it left"), soft_wrap=True)
    print_files(result.files, console)
