"""Where the error comes from, as far as the files of a run tell."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from distq.reports.facts import RunFacts
from distq.reports.html import (
    Cell,
    decibels,
    element,
    number,
    numeric,
    paragraph,
    section,
    side_by_side,
    table,
    text,
    words,
)
from distq.reports.plot import Point, bars, line
from distq.reports.views.growth import growth

_WORST = 5


def layers(runs: Sequence[RunFacts], anchors: Mapping[str, str]) -> str:
    """The view.

    Args:
        runs: to show.
        anchors: of each tensor's place on the page.
    """
    return section(
        "layers", "Which tensors matter", side_by_side([(r.label, _panel(r, anchors)) for r in runs])
    )


def _panel(run: RunFacts, anchors: Mapping[str, str]) -> str:
    by_tensor = (view(run, anchors) for view in (growth, _own_error, _search, _in_float))
    return "".join(by_tensor) + _choices(run)


def _own_error(run: RunFacts, anchors: Mapping[str, str]) -> str:
    """What quantization does to each tensor's own values."""
    points, ranked = [], []
    for tensor in run.tensors:
        fit, kind = tensor.fit, ""
        if fit is None and tensor.row is not None:
            fit, kind = tensor.fit_before, "calibrated"
        if fit is not None and math.isfinite(fit.sqnr_db):
            ranked.append((fit.sqnr_db, tensor.name))
            label, link = f"{tensor.name}: {decibels(fit.sqnr_db)}", f"#{anchors[tensor.name]}"
            points.append(Point(label, fit.sqnr_db, link, kind))
    if not points:
        return ""
    paler = " Paler bars: as calibrated, as the final threshold is of a network with channels evened out."
    paler = paler if any(point.kind for point in points) else ""
    worst = [
        element("li", element("a", text(name), href=f"#{anchors[name]}"), text(f" {decibels(value)}"))
        for value, name in sorted(ranked)[:_WORST]
    ]
    return "".join(
        (
            element("h3", "Each tensor by itself, in graph order"),
            paragraph(
                "SQNR of a tensor's own values once they are quantized; a low bar loses most. A tensor may "
                "lose much that the outputs do not need, which <code>distq diff --sensitivity</code> "
                f"tells.{paler}",
                class_="note",
            ),
            bars(points, "SQNR of the tensor, dB", "tensors from input to output; a bar opens its tensor"),
            paragraph("Lowest:"),
            element("ol", *worst),
        )
    )


def _search(run: RunFacts, anchors: Mapping[str, str]) -> str:
    """How the error fell as the search went through the tensors."""
    searched = [t.search for t in run.tensors if t.search is not None]
    if not searched:
        return ""
    measured = [one for one in searched if one.scored]
    points = [
        Point(
            f"{one.name}: {number(one.before)} to {number(one.after)}, {one.reason}",
            one.after,
            f"#{anchors[one.name]}",
            "accepted" if one.accepted else "",
        )
        for one in measured
    ]
    accepted = sum(one.accepted for one in searched)
    gains = sorted((one for one in searched if one.accepted), key=lambda one: one.after - one.before)
    rows = [
        [
            Cell(element("a", text(one.name), href=f"#{anchors[one.name]}")),
            numeric(number(one.before), one.before),
            numeric(number(one.after), one.after),
            numeric(number(one.start), one.start),
            numeric(number(one.threshold), one.threshold),
        ]
        for one in gains[:_WORST]
    ]
    heads = ["tensor", "error before", "error after", "threshold before", "threshold after"]
    largest = [paragraph("Largest steps:"), table(heads, rows)] if rows else []
    return "".join(
        (
            element("h3", "The search, tensor by tensor"),
            paragraph(
                f"{len(searched)} tensors visited, for {len(measured)} of them candidates were scored, "
                f"{accepted} thresholds changed (filled points). Each decision stands for all later ones.",
                class_="note",
            ),
            line(
                points,
                "error of the outputs on the tuning samples",
                "tensors from input to output",
                baseline=True,
            ),
            *largest,
        )
    )


def _choices(run: RunFacts) -> str:
    """Networks that were compared as wholes."""
    rows = [
        [
            words(choice.kind),
            words(choice.chosen),
            words(
                "; ".join(
                    f"{choice.names[i]}: {number(diff)}" if i < len(choice.names) else number(diff)
                    for i, diff in enumerate(choice.diffs)
                )
            ),
        ]
        for choice in run.choices
    ]
    if not rows:
        return ""
    return element("h3", "Choices") + table(
        ["what", "taken", "NMSE, on the tuning samples unless said"], rows
    )


def _in_float(run: RunFacts, anchors: Mapping[str, str]) -> str:
    rows = [
        [Cell(element("a", text(layer.name), href=f"#{anchors[layer.name]}")), words(layer.reason)]
        for layer in run.result.float_layers
    ]
    return element("h3", "Layers that compute in float") + table(["layer", "why"], rows) if rows else ""
