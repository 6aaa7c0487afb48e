"""Plots as SVG text: histogram, bars, and lines; colours come from the page's style sheet."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from distq.reports.html import element, number, text

WIDTH, HEIGHT = 680, 260
LEFT, RIGHT, TOP, BOTTOM = 56, 16, 14, 40
_TICKS = 6
_LINE = 14
"""Height of a line of labels."""


@dataclass(frozen=True)
class Mark:
    """A vertical line at a value of the horizontal axis.

    Attributes:
        position: on the axis.
        label: shown at its top.
        kind: the class that colours it.
        level: line of text that its label stands on, 0 at the top.
    """

    position: float
    label: str
    kind: str
    level: int = 0


@dataclass(frozen=True)
class Point:
    """A point or bar of a plot.

    Attributes:
        label: said of it when it is pointed at.
        value: on the vertical axis; not finite: nothing is drawn.
        link: what a click opens; empty: nothing.
        kind: the class that colours it.
    """

    label: str
    value: float
    link: str = ""
    kind: str = ""


class Axis:
    """Maps values of one axis to places on the plot."""

    def __init__(self, low: float, high: float, start: float, end: float) -> None:
        self.low, self.high = (low, high) if high > low else (low - 0.5, low + 0.5)
        self._start, self._end = start, end

    def __call__(self, value: float) -> float:
        """The place of a value."""
        part = (value - self.low) / (self.high - self.low)
        return round(self._start + part * (self._end - self._start), 1)

    def ticks(self) -> list[float]:
        """Round values along it."""
        rough = (self.high - self.low) / _TICKS
        power = 10.0 ** math.floor(math.log10(rough))
        step = next(s * power for s in (1, 2, 5, 10) if s * power >= rough * 0.999)
        first = math.ceil(self.low / step - 1e-9)
        last = math.floor(self.high / step + 1e-9)
        return [i * step for i in range(first, last + 1)]


def histogram(
    values: npt.NDArray[np.float64],
    counts: npt.NDArray[np.int64],
    marks: Sequence[Mark],
    *,
    bins: int = 128,
    levels: int = 0,
) -> str:
    """Counts of values on a logarithmic axis, with marks.

    Args:
        values: ascending, not empty.
        counts: of each.
        marks: such as thresholds; the axis reaches as far as they do.
        bins: of the histogram.
        levels: lines of text that the marks' labels need.
    """
    shown = [float(values[0]), float(values[-1]), 0.0, *(mark.position for mark in marks)]
    top = TOP + _LINE * levels
    across = Axis(min(shown), max(shown), LEFT, WIDTH - RIGHT)
    heights, edges = np.histogram(values, bins, (across.low, across.high), weights=counts)
    most = max(1.0, math.log10(max(1.0, float(heights.max()))))
    up = Axis(0, most, HEIGHT - BOTTOM, top)
    tops = [up(math.log10(height) + 0.02 * most) if height >= 1 else up(0) for height in heights]
    path = element("path", d=_steps([across(edge) for edge in edges], tops, up(0)), class_="counts")
    ticks = [(up(power), f"{10**power:g}") for power in range(int(most) + 1)]
    content = [_grid(ticks, top), path, _bottom_axis(across, "value"), *_marks(marks, across)]
    return _figure(content, "distribution of the values, counts on a logarithmic axis")


def _steps(edges: Sequence[float], tops: Sequence[float], ground: float) -> str:
    """The outline of columns; relative moves, which are the shortest."""
    drawn, x, y = [f"M{edges[0]:g} {ground:g}"], edges[0], ground
    for left, top in zip(edges, [*(round(min(top, ground)) for top in tops), ground], strict=True):
        if top != y or left == edges[-1]:
            drawn.append(f"h{round(left - x, 1):g}v{round(top - y):g}")
            x, y = left, top
    return "".join(drawn) + "z"


def bars(points: Sequence[Point], label: str, across_label: str) -> str:
    """A bar a point, in order."""
    finite = [point.value for point in points if math.isfinite(point.value)]
    if not finite:
        return ""
    up = Axis(min(0.0, *finite, 0.0), max(0.0, *finite, 0.0), HEIGHT - BOTTOM, TOP)
    across = Axis(0, len(points), LEFT, WIDTH - RIGHT)
    thick = max(1.0, round(0.8 * (across(1) - across(0)), 1))
    drawn = []
    for place, point in enumerate(points):
        value = point.value if math.isfinite(point.value) else up.high
        y, ground = up(value), up(0)
        bar = element(
            "rect",
            element("title", text(point.label)),
            x=across(place),
            y=min(y, ground),
            width=thick,
            height=max(1.0, round(abs(ground - y), 1)),
            class_=f"bar {point.kind}".strip(),
        )
        drawn.append(_linked(bar, point))
    ticks = [(up(tick), number(tick)) for tick in up.ticks()]
    return _figure([_grid(ticks, TOP), *drawn, _labels(label, across_label)], label)


def line(points: Sequence[Point], label: str, across_label: str, *, baseline: bool = False) -> str:
    """Points joined in order, at 0, 1, 2 and so on.

    Args:
        points: to join.
        label: of the vertical axis.
        across_label: of the horizontal axis.
        baseline: the vertical axis starts at 0.
    """
    finite = [point.value for point in points if math.isfinite(point.value)]
    if not finite:
        return ""
    low, high = (0.0 if baseline else min(finite)), max(finite)
    room = 0.08 * (high - low)
    up = Axis(low if baseline else low - room, high + room, HEIGHT - BOTTOM, TOP)
    across = Axis(0, max(1, len(points) - 1), LEFT + 8, WIDTH - RIGHT - 8)
    placed = [(across(i), up(p.value), p) for i, p in enumerate(points) if math.isfinite(p.value)]
    joined = element("polyline", points=" ".join(f"{x},{y}" for x, y, _ in placed), class_="line")
    dots = [
        _linked(
            element(
                "circle",
                element("title", text(point.label)),
                cx=x,
                cy=y,
                r=4 if len(points) <= 60 else 2.5,
                class_=f"dot {point.kind}".strip(),
            ),
            point,
        )
        for x, y, point in placed
    ]
    ticks = [(up(tick), number(tick)) for tick in up.ticks()]
    return _figure([_grid(ticks, TOP), joined, *dots, _labels(label, across_label)], label)


def spark(values: Sequence[float], label: str) -> str:
    """A small line without axes; values are drawn between the least and the largest."""
    across, up = Axis(0, max(1, len(values) - 1), 1, 119), Axis(min(values), max(values), 23, 1)
    points = " ".join(f"{across(i)},{up(value)}" for i, value in enumerate(values))
    return element(
        "svg",
        element("polyline", points=points, class_="line"),
        viewBox="0 0 120 24",
        class_="spark",
        role="img",
        aria_label=label,
    )


def _figure(content: Sequence[str], label: str) -> str:
    drawn = element(
        "svg",
        *content,
        viewBox=f"0 0 {WIDTH} {HEIGHT}",
        role="img",
        aria_label=label,
    )
    return element("div", drawn, class_="plot")


def _linked(drawn: str, point: Point) -> str:
    return element("a", drawn, href=point.link, aria_label=point.label) if point.link else drawn


def _grid(ticks: Sequence[tuple[float, str]], top: float) -> str:
    lines = "".join(f"M{LEFT} {y:g}H{WIDTH - RIGHT}" for y, _ in ticks)
    said = [element("text", text(label), x=LEFT - 6, y=f"{y + 4:g}") for y, label in ticks]
    frame = element("path", d=f"M{LEFT} {top:g}V{HEIGHT - BOTTOM}H{WIDTH - RIGHT}", class_="axis")
    return element("path", d=lines, class_="grid") + element("g", *said, class_="left") + frame


def _bottom_axis(across: Axis, label: str) -> str:
    base, ticks = HEIGHT - BOTTOM, [(f"{across(tick):g}", number(tick)) for tick in across.ticks()]
    lines = "".join(f"M{x} {base}v4" for x, _ in ticks)
    said = [element("text", shown, x=x, y=base + 16) for x, shown in ticks]
    said.append(element("text", text(label), x=(LEFT + WIDTH - RIGHT) // 2, y=HEIGHT - 6))
    return element("path", d=lines, class_="axis") + element("g", *said, class_="middle")


def _labels(up: str, across: str) -> str:
    place = (LEFT + WIDTH - RIGHT) / 2
    return element("text", text(across), x=place, y=HEIGHT - 10, class_="middle") + element(
        "text", text(up), x=LEFT + 6, y=TOP - 3, class_="start"
    )


def _marks(marks: Sequence[Mark], across: Axis) -> list[str]:
    """The marks of each kind together: one path for their lines, and their labels."""
    drawn = []
    for kind in dict.fromkeys(mark.kind for mark in marks):
        own = [(across(mark.position), TOP + _LINE * mark.level, mark) for mark in marks if mark.kind == kind]
        lines = "".join(f"M{x:g} {y - 8}V{HEIGHT - BOTTOM}" for x, y, _ in own)
        said = [_label(x, y, mark.label) for x, y, mark in own if mark.label]
        drawn.append(element("g", element("path", d=lines, class_="mark"), *said, class_=kind))
    return drawn


def _label(x: float, y: float, label: str) -> str:
    """Beside its line: near the right edge to the left of it."""
    left = x > WIDTH / 2
    place = f"{x - 4 if left else x + 4:g}"
    return element("text", text(label), x=place, y=y, class_="left" if left else None)
