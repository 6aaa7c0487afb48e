"""Weights by channel: ranges, channels far larger than the others, and dead ones."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from distq.reports.facts import LayerFacts, RunFacts
from distq.reports.html import Cell, number, numeric, paragraph, section, side_by_side, table, words
from distq.reports.plot import spark

_OUTLIER, _DEAD = 8.0, 0.01
"""Times the median range of a layer's channels, from which and up to which a channel is named."""

_DRAWN = 48


def weights(runs: Sequence[RunFacts]) -> str:
    """The view."""
    note = paragraph(
        "The range of a channel is the largest magnitude of its weights in the exported model. Outliers: "
        f"over {_OUTLIER:g} times the layer's median range; dead: under {_DEAD:g} of it. The line shows the "
        "ranges in ascending order, on a logarithmic scale.",
        class_="note",
    )
    return section(
        "weights", "Weights by channel", note, side_by_side([(r.label, _panel(r)) for r in runs], wide=True)
    )


def _panel(run: RunFacts) -> str:
    heads = [
        "layer",
        "type",
        "bits",
        "channels",
        "smallest",
        "median",
        "largest",
        "outliers",
        "dead",
        "ranges",
    ]
    rows = [_row(layer) for layer in run.layers if layer.ranges.size]
    return table(heads, rows, sortable=True) if rows else paragraph("RUN has no model with weights.")


def _row(layer: LayerFacts) -> list[Cell]:
    ranges = np.sort(layer.ranges)
    median = float(np.median(ranges))
    outliers, dead = int((ranges > _OUTLIER * median).sum()), int((ranges < _DEAD * median).sum())
    picked = ranges[np.linspace(0, ranges.size - 1, min(ranges.size, _DRAWN)).astype(int)]
    least = max(float(ranges[-1]) * 1e-6, 1e-30)
    drawn = spark(np.log10(np.maximum(picked, least)).round(3).tolist(), f"ranges of {ranges.size} channels")
    return [
        words(layer.name),
        words(layer.kind),
        numeric("float" if layer.bits == 32 else str(layer.bits), layer.bits),
        numeric(str(ranges.size), ranges.size),
        numeric(number(float(ranges[0]), 3), float(ranges[0])),
        numeric(number(median, 3), median),
        numeric(number(float(ranges[-1]), 3), float(ranges[-1])),
        numeric(str(outliers), outliers),
        numeric(str(dead), dead),
        Cell(drawn),
    ]
