"""The curve of a budget: how close to float, by how much is not 8-bit."""

from __future__ import annotations

from collections.abc import Sequence

from distq.reports.facts import RunFacts
from distq.reports.html import decibels, number, numeric, section, side_by_side, table, words
from distq.reports.plot import Point, line


def budget(runs: Sequence[RunFacts]) -> str:
    """The view; empty where no run had a budget."""
    if not any(run.result.curve for run in runs):
        return ""
    return section("budget", "What a budget buys", side_by_side([(run.label, _panel(run)) for run in runs]))


def _panel(run: RunFacts) -> str:
    curve = run.result.curve
    if not curve:
        return ""
    points = [Point(f"{one.budget}: {decibels(one.sqnr_db)}", one.sqnr_db) for one in curve]
    rows, before = [], set[str]()
    for place, one in enumerate(curve):
        names = [
            *(f"{name} in 16 bits" for name in one.int16),
            *(f"{name} in float" for name in one.float_layers),
        ]
        new = [name for name in names if name not in before]
        before |= {*names}
        where = f"curve/{place}"
        rows.append(
            [
                numeric(str(one.budget), one.budget, metric=f"{where}/budget"),
                numeric(decibels(one.sqnr_db), one.sqnr_db, metric=f"{where}/sqnr_db"),
                numeric(number(one.nmse), one.nmse, metric=f"{where}/nmse"),
                words(", ".join(new) or "all in 8 bits" if not place else ", ".join(new)),
            ]
        )
    heads = ["given", "SQNR, tuning", "NMSE, tuning", "added"]
    return line(points, "SQNR on the tuning samples, dB", "tensors in 16 bits and layers in float") + table(
        heads, rows
    )
