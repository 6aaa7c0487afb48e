"""How the error grows as INT8 grows, and what each tensor costs: what ``distq diff`` measured."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise

from distq.reports.facts import RunFacts
from distq.reports.html import (
    Cell,
    decibels,
    element,
    number,
    numeric,
    paragraph,
    share,
    table,
    text,
)
from distq.reports.plot import Point, line
from distq.run.results import DiffResult, LayerStep

_LARGEST = 5


def growth(run: RunFacts, anchors: Mapping[str, str]) -> str:
    """What was measured of a run; empty where nothing was."""
    shown = []
    for measured in run.measured:
        if measured.steps:
            shown.append(_steps(measured, anchors))
        if measured.tensors:
            shown.append(_costs(measured, anchors))
    return "".join(shown)


def _steps(measured: DiffResult, anchors: Mapping[str, str]) -> str:
    points = [
        Point(f"INT8 up to {step.layer}: NMSE {number(step.nmse)}", step.nmse, _link(step.layer, anchors))
        for step in measured.steps
    ]
    grown = sorted(_grown(measured.steps), key=lambda pair: -pair[1])[:_LARGEST]
    items = [
        element("li", _named(layer, anchors), text(f": NMSE grows by {number(by)}"))
        for layer, by in grown
        if by > 0
    ]
    return "".join(
        (
            element("h3", "How the error grows"),
            paragraph(
                text(f"INT8 from the first layer to each layer, float behind it; {measured.images} samples."),
                class_="note",
            ),
            line(points, "NMSE of the outputs", "INT8 up to this layer, from input to output", baseline=True),
            paragraph("Largest steps:") + element("ol", *items) if items else "",
        )
    )


def _grown(steps: Sequence[LayerStep]) -> list[tuple[str, float]]:
    first = [(step.layer, step.nmse) for step in steps[:1]]
    return first + [(step.layer, step.nmse - before.nmse) for before, step in pairwise(steps)]


def _costs(measured: DiffResult, anchors: Mapping[str, str]) -> str:
    rows = [
        [
            Cell(_named(cost.tensor, anchors), cost.tensor),
            numeric(str(cost.bits), cost.bits),
            numeric(decibels(cost.alone_sqnr_db), cost.alone_sqnr_db),
            numeric(decibels(cost.without_sqnr_db), cost.without_sqnr_db),
            numeric(share(cost.part), cost.part),
        ]
        for cost in measured.tensors
    ]
    note = paragraph(
        "Alone: the outputs with only this tensor quantized. Without: the INT8 network with this tensor in "
        "float. Part: share of the error that leaves with it.",
        class_="note",
    )
    heads = ["tensor", "bits", "SQNR, alone", "SQNR, without", "part"]
    return element("h3", "What each tensor costs the outputs") + note + table(heads, rows, sortable=True)


def _link(name: str, anchors: Mapping[str, str]) -> str:
    return f"#{anchors[name]}" if name in anchors else ""


def _named(name: str, anchors: Mapping[str, str]) -> str:
    return element("a", text(name), href=_link(name, anchors)) if name in anchors else text(name)
