"""The table of a sweep: its runs, and which of them are best for what they cost."""

from __future__ import annotations

from collections.abc import Sequence
from urllib.parse import quote

from distq.reports.facts import SweepLine
from distq.reports.html import (
    NOTHING,
    Cell,
    decibels,
    duration,
    element,
    number,
    numeric,
    paragraph,
    section,
    share,
    table,
    text,
    words,
)

_HEADS = ("run", "SQNR, held-out", "NMSE", "top-1", "float layers", "time", "best")


def sweep(lines: Sequence[SweepLine]) -> str:
    """The view; empty where the page is of no sweep."""
    if not lines:
        return ""
    note = paragraph(
        "Best: no run of the same network is as close to float in less time, or with fewer float layers. "
        "Below, the best runs stand side by side.",
        class_="note",
    )
    return section("sweep", "The sweep", note, table(_HEADS, map(_row, lines), sortable=True))


def _row(line: SweepLine) -> list[Cell]:
    name = element("a", text(line.name), href=quote(line.link)) if line.link else text(line.name)
    found = line.accuracy
    if line.error is not None:
        return [Cell(name, line.name), *[words(NOTHING)] * (len(_HEADS) - 2), words(f"failed: {line.error}")]
    best = [("time", line.best_for_time), ("float layers", line.best_for_float_layers)]
    figures = [words(NOTHING)] * 3
    if found is not None:
        figures = [
            numeric(decibels(found.sqnr_db), found.sqnr_db),
            numeric(number(found.nmse), found.nmse),
            numeric(share(found.top1), found.top1),
        ]
    return [
        Cell(name, line.name),
        *figures,
        numeric(str(line.float_layers), line.float_layers),
        numeric(duration(line.seconds or 0.0), line.seconds),
        words(", ".join(label for label, is_best in best if is_best) or NOTHING),
    ]
