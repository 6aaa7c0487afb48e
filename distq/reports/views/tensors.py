"""All tensors in one table, which sorts, searches and exports."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from distq.reports.facts import RunFacts, TensorFacts
from distq.reports.html import (
    NOTHING,
    Cell,
    decibels,
    element,
    number,
    numeric,
    section,
    share,
    table,
    text,
    words,
)

_COLUMNS = ("bits", "method", "threshold", "over largest", "clipped", "own SQNR", "why float")


def tensors(runs: Sequence[RunFacts], names: Mapping[str, str]) -> str:
    """The view.

    Args:
        runs: to show; with several, the columns stand once for each.
        names: tensors in the order of the page, and the anchor of each.
    """
    several = len(runs) > 1
    heads = ["tensor", "type"]
    for run in runs:
        heads += [f"{column}\n{run.label}" if several else column for column in _COLUMNS]
    found = [run.by_name for run in runs]
    rows = [_row(name, anchor, [one.get(name) for one in found]) for name, anchor in names.items()]
    tools = element(
        "div",
        element(
            "label",
            "Search ",
            element(
                "input", type="search", id="search", placeholder="name, type, method, reason"
            ).removesuffix("</input>"),
        ),
        element("span", "", id="shown", aria_live="polite"),
        element("button", "Save as CSV", type="button", id="csv"),
        class_="tools",
    )
    note = element(
        "p",
        "A name opens its tensor below. Over largest: threshold over the largest magnitude seen; clipped: "
        "share of values beyond the range; own SQNR: of the tensor's values against float.",
        class_="note",
    )
    return section("tensors", "Tensors", note, tools, table(heads, rows, id_="tensor-table", sortable=True))


def _row(name: str, anchor: str, found: Sequence[TensorFacts | None]) -> list[Cell]:
    kind = next((tensor.kind for tensor in found if tensor is not None and tensor.kind), NOTHING)
    cells = [Cell(element("a", text(name), href=f"#{anchor}"), name), words(kind)]
    groups = [_cells(tensor) for tensor in found]
    for group in groups:
        cells += [
            Cell(cell.html, cell.value, cell.html != first.html, cell.metric, cell.numeric)
            for cell, first in zip(group, groups[0], strict=True)
        ]
    return cells


def _cells(tensor: TensorFacts | None) -> list[Cell]:
    if tensor is None:
        return [words(NOTHING)] * len(_COLUMNS)
    row, fit = tensor.row, tensor.fit
    if row is None:
        return [
            numeric("float", 32),
            *[words(NOTHING)] * (len(_COLUMNS) - 2),
            words(tensor.reason or NOTHING),
        ]
    ratio = row.threshold / row.absmax if row.absmax else None
    method = f"{row.method} of {row.tied_to}" if row.tied_to else row.method
    return [
        numeric(str(row.bits), row.bits),
        words(method),
        numeric(number(row.threshold), row.threshold),
        numeric(number(ratio, 3), ratio),
        numeric(share(fit.clipped), fit.clipped) if fit else words(NOTHING),
        numeric(decibels(fit.sqnr_db), fit.sqnr_db) if fit else words(NOTHING),
        words(tensor.reason or NOTHING),
    ]
