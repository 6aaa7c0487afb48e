"""How a run that is watched looks: a line for a log, a view for a terminal."""

from __future__ import annotations

import time

from rich.console import Group, RenderableType
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from distq.cli.console import duration, rate
from distq.errors import plural
from distq.run.watching import Status

_OTHER_LINES = 14
"""Of the view, beside those of workers."""

_LEAST_WORKERS = 3

_LONGEST = 80
"""Characters of what a network is called, which of ``auto`` names every layer in float."""

_NO_STAGE = "starts its workers"

_STATES = {
    "starting": "has not begun",
    "finished": "has finished",
    "interrupted": "was interrupted: the same command with --resume continues it",
    "gone": "has ended without a word, perhaps killed: the same command with --resume continues it",
}


def line(status: Status) -> str:
    """One line: the time, what the run is at, the best so far."""
    parts = [_said(status)] if status.state != "working" else []
    if status.state == "working" and not status.stage:
        parts.append(_NO_STAGE)
    elif status.stage and not status.over:
        parts.append(", ".join([f"{status.stage} {_count(status)}", *_speed(status)]))
    if status.best is not None:
        parts.append(f"best so far: {_best(status)}")
    if not status.over and status.of_workers:
        busy = sum(bool(worker.doing) for worker in status.workers)
        parts.append(f"{busy} of {status.of_workers} workers busy")
    name = f"{status.command} " if status.command else ""
    return f"{time.strftime('%H:%M:%S')} {name}{status.run}: {'; '.join(parts)}"


def view(status: Status, height: int) -> RenderableType:
    """The whole, in so many lines."""
    title = Text.assemble((f"distq {status.command} ".rstrip(), "bold"), f" {status.model}")
    rows: list[RenderableType] = [_one_line(title), _one_line(Text(f"{status.run} {_since(status)}", "dim"))]
    if status.state == "working":
        rows.append(_bar(status))
    else:
        rows.append(Text(_said(status), "green" if status.state == "finished" else "yellow"))
    if status.best is not None:
        rows.append(_one_line(Text.assemble(("best so far  ", "bold"), _best(status))))
    if status.decisions:
        rows.append(Text("last decisions", "bold"))
        rows.extend(_one_line(Text(f"  {decision}")) for decision in status.decisions)
    if status.workers:
        rows.extend(_workers(status, max(_LEAST_WORKERS, height - _OTHER_LINES)))
    if status.warnings:
        rows.append(
            _one_line(Text(f"{plural(status.warnings, 'warning')}, the last: {status.warning}", "yellow"))
        )
    return Group(*rows)


def _workers(status: Status, most: int) -> list[RenderableType]:
    table = Table.grid(padding=(0, 2), expand=True)
    table.add_column(no_wrap=True)
    table.add_column(no_wrap=True, overflow="ellipsis", ratio=1)
    for worker in status.workers[:most]:
        where = worker.where.partition(", node ")[0]
        table.add_row(Text(f"  {where}"), Text(worker.doing or "waits", "" if worker.doing else "dim"))
    shown: list[RenderableType] = [Text(plural(status.of_workers, "worker"), "bold"), table]
    left = status.of_workers - min(most, len(status.workers))
    if left:
        shown.append(Text(f"  and {left} more", "dim"))
    return shown


def _bar(status: Status) -> RenderableType:
    if not status.stage:
        return Text(_NO_STAGE)
    table = Table.grid(padding=(0, 1))
    for _ in range(4):
        table.add_column(no_wrap=True, overflow="ellipsis")
    speed = ", ".join(_speed(status))
    bar = ProgressBar(total=status.total or None, completed=status.done, width=10) if status.total else ""
    table.add_row(Text(status.stage, "bold"), bar, Text(_count(status)), Text(speed, "cyan"))
    return table


def _one_line(text: Text) -> Text:
    text.no_wrap, text.overflow = True, "ellipsis"
    return text


def _since(status: Status) -> str:
    word = "took" if status.over else "since"
    return f"{word} {duration(status.elapsed_s)}" if status.elapsed_s else ""


def _said(status: Status) -> str:
    if status.state == "failed":
        return f"failed: {status.reason}"
    if status.state == "silent":
        return f"has said nothing for {duration(status.silent_s)}"
    return _STATES.get(status.state, status.state)


def _count(status: Status) -> str:
    return f"{status.done}/{status.total} {status.unit}" if status.total else f"{status.done} {status.unit}"


def _speed(status: Status) -> list[str]:
    found = [] if status.rate is None else [rate(status.rate, status.unit)]
    return found if status.left_s is None else [*found, f"{duration(status.left_s)} left"]


def _best(status: Status) -> str:
    best = status.best
    if best is None:
        return ""
    moved = f", {plural(best.moved, 'threshold')} moved since" if best.moved else ""
    stage = best.stage if len(best.stage) <= _LONGEST else f"{best.stage[:_LONGEST]}…"
    return (f"{best.reading}: " if best.reading else "") + f"{stage}{moved}"
