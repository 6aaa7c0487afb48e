"""One tensor: its distribution, its thresholds, what methods would choose, and what the search tried."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from distq.quant.table import Row
from distq.reports.facts import Fit, RunFacts, TensorFacts
from distq.reports.html import (
    NOTHING,
    Cell,
    decibels,
    element,
    number,
    paragraph,
    section,
    share,
    side_by_side,
    small_table,
    table,
    text,
    words,
)
from distq.reports.plot import Mark, histogram
from distq.reports.views.candidates import candidates
from distq.run.results import SearchedLayer

_ALIKE = 0.02
"""Thresholds this close have one label."""


def tensor_details(runs: Sequence[RunFacts], names: Mapping[str, str]) -> str:
    """The view: a tensor an article, of which the page shows the one that was opened."""
    found = [(run.label, run.by_name) for run in runs]
    anchors = list(names.values())
    articles = []
    for place, (name, anchor) in enumerate(names.items()):
        panels = [(label, _panel(tensors[name]) if name in tensors else "") for label, tensors in found]
        links = [
            element("a", label, href=f"#{anchors[other]}")
            for label, other in (("← previous", place - 1), ("next →", place + 1))
            if 0 <= other < len(anchors)
        ]
        links.append(element("a", "all tensors", href="#tensors"))
        bar = element("p", " ".join(links), class_="steps")
        title = element("h3", element("code", text(name)), tabindex="-1")
        articles.append(element("article", title, bar, side_by_side(panels), id=anchor, class_="tensor"))
    hint = paragraph(
        "Open one by its name in the table above, or by a bar or point of a plot.", class_="note hint"
    )
    return section("tensor", "One tensor", hint, *articles)


def _panel(tensor: TensorFacts) -> str:
    return "".join((_facts(tensor), _plot(tensor), _thresholds(tensor), _search(tensor)))


def _scale(row: Row) -> str:
    if row.channels is None:
        return f"scale {number(row.scale)}, zero point {row.zero_point}"
    scales = [scale for scale, _ in row.channels]
    ends = f"{number(min(scales))} to {number(max(scales))}"
    return f"a scale for each of {len(scales)} channels, {ends}: the range is that of all together"


def _facts(tensor: TensorFacts) -> str:
    row, counted = tensor.row, tensor.distribution
    said = [tensor.kind]
    if row is not None:
        said += [
            f"{row.bits} bits, {'signed' if row.signed else 'unsigned'}",
            f"range {number(row.min)} to {number(row.max)}",
            _scale(row),
        ]
        if row.tied_to:
            said.append(f"shares the quantizer of {row.tied_to}")
    if counted is not None and counted.count:
        said.append(f"values seen {number(counted.min)} to {number(counted.max)}")
        said.append(f"{share(counted.zeros / counted.count)} exact zeros")
        if counted.nonfinite:
            said.append(f"{counted.nonfinite} values that are not finite")
    lines = [paragraph(text(" · ".join(filter(None, said))))]
    if tensor.reason:
        lines.append(paragraph(text(f"In float: {tensor.reason}"), class_="reason"))
    if tensor.rescaled and row is not None:
        lines.append(
            paragraph(
                f"The final threshold, {number(row.threshold)}, is of other values than those counted below: "
                "channels were evened out before this tensor, or it was given headroom. The plot shows the "
                "network as it was calibrated.",
                class_="note",
            )
        )
    return "".join(lines)


def _plot(tensor: TensorFacts) -> str:
    counted = tensor.distribution
    if counted is None or not counted.count:
        return paragraph("RUN has no distribution of this tensor.", class_="note")
    values, counts = counted.values()
    if not values.size:
        return paragraph("Every value is zero.", class_="note")
    marks = _marks(tensor, negative=abs(counted.min) > abs(counted.max))
    return histogram(values, counts, marks, levels=1 + max((mark.level for mark in marks), default=0))


def _marks(tensor: TensorFacts, *, negative: bool) -> list[Mark]:
    side = -1 if negative else 1
    marks: list[Mark] = []
    row = None if tensor.rescaled else tensor.row
    level = 0
    for name, kind, found in (("before", "before", tensor.before), ("threshold", "after", row)):
        if found is None:
            continue
        title = f"{name} {number(found.threshold)}"
        bounds = (found.max, found.min) if side > 0 else (found.min, found.max)
        marks += [Mark(bound, title if not i else "", kind, level) for i, bound in enumerate(bounds) if bound]
        level += 1
    grouped = _grouped(tensor.methods)
    for place, (value, names) in enumerate(grouped):
        marks.append(Mark(side * value, ", ".join(names), "method", level + place))
    return marks


def _grouped(methods: Mapping[str, Fit]) -> list[tuple[float, list[str]]]:
    """Thresholds of the methods, ascending, those that a plot cannot tell apart under one label."""
    groups: list[tuple[float, list[str]]] = []
    for name, fit in sorted(methods.items(), key=lambda item: item[1].threshold):
        if groups and fit.threshold - groups[-1][0] <= _ALIKE * fit.threshold:
            groups[-1][1].append(name)
        else:
            groups.append((fit.threshold, [name]))
    return groups


def _thresholds(tensor: TensorFacts) -> str:
    named: list[tuple[str, Fit | None]] = [
        ("final", tensor.fit),
        ("before the search", tensor.fit_before),
        *tensor.methods.items(),
    ]
    rows = [
        [
            name,
            number(fit.threshold),
            number(fit.over_largest, 3),
            share(fit.clipped),
            decibels(fit.sqnr_db),
        ]
        for name, fit in named
        if fit is not None
    ]
    if not rows:
        return ""
    heads = ["threshold by", "threshold", "over largest", "clipped", "own SQNR"]
    return small_table(heads, rows)


def _search(tensor: TensorFacts) -> str:
    found = tensor.search
    if found is None:
        return ""
    scored = f"{found.scored} candidates, {found.dropped} of them given up early"
    said = paragraph(text(f"The search scored {scored}: {found.reason}."))
    return said + (candidates(tensor.tried, found) if tensor.tried else _known_candidates(found))


def _known_candidates(found: SearchedLayer) -> str:
    """What a run of an earlier version tells of the candidates."""
    rows = [_candidate("start", found.start, found.before, "", "")]
    if found.accepted:
        rows.append(_candidate("taken", found.threshold, found.after, "", found.reason))
    rows += [
        _candidate("not significant", one.threshold, found.before - one.gain, number(one.t, 3), one.reason)
        for one in found.insignificant
    ]
    return table(["candidate", "threshold", "error of the outputs", "t", "verdict"], rows)


def _number(shown: str) -> Cell:
    """A number that is not sorted or saved, so that its exact value need not stand on the page."""
    return Cell(text(shown), numeric=True)


def _candidate(name: str, threshold: float, error: float, t: str, verdict: str) -> list[Cell]:
    return [
        words(name),
        _number(number(threshold)),
        _number(number(error)),
        words(t or NOTHING),
        words(verdict or NOTHING),
    ]
