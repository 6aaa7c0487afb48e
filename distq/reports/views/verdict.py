"""The verdict: how close INT8 is to float, what it costs, and what to look at."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from distq.reports.facts import Fit, Interval, RunFacts
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
    size,
    table,
    text,
    words,
)
from distq.reports.views.speed import speed
from distq.run.results import Accuracy, FloatAccuracy

_CLIPPED = 0.01
"""Share of clipped values from which a tensor is named."""

_NAMED = 5

Fact = Callable[[RunFacts], Cell]

_FIGURES: dict[str, Callable[[float], str]] = {
    "nmse": number,
    "cosine": lambda value: number(value, 6),
    "top1": share,
    "top5": share,
}
_TITLES = {"before": "calibrated", "after": "tuned"}


def verdict(runs: Sequence[RunFacts]) -> str:
    """The view."""
    several = len(runs) > 1
    lead = [f"{run.label}: {_sentence(run)}" if several else _sentence(run) for run in runs]
    warnings = [_warnings(run, named=several) for run in runs]
    return section(
        "verdict",
        "Verdict",
        *(paragraph(text(line), class_="lead") for line in lead),
        _compared("holdout", "On held-out samples", runs),
        _compared("tuning", "On tuning samples, which the search and all choices have seen", runs),
        *warnings,
        speed(runs),
        element("h3", "What it took"),
        _costs(runs),
    )


def _sentence(run: RunFacts) -> str:
    """One line that a person can pass on."""
    compared = run.result.holdout or run.result.tuning
    if compared is None:
        return "Thresholds alone; no model was made."
    final = compared.after or compared.before
    name = "after" if compared.after else "before"
    interval = run.held_out.sqnr_db.get(name) if run.held_out and run.result.holdout else None
    where = "held-out" if run.result.holdout else "tuning"
    scatter = f" (95 % interval {_range(interval)})" if interval else ""
    said = f"INT8 is {decibels(final.sqnr_db)} from float on {compared.images} {where} samples{scatter}"
    if compared.after is not None:
        gain = run.held_out.gain_db if run.held_out and run.result.holdout else None
        said += f"; calibration alone gives {decibels(compared.before.sqnr_db)}"
        if gain is not None and gain.low != gain.high:
            sure = "is" if gain.low > 0 or gain.high < 0 else "is not sure:"
            said += f", the gain over it {sure} {_range(gain)}"
    if final.top1 is not None and compared.float is not None:
        said += f". Top-1 is {share(final.top1)}, float {share(compared.float.top1)}"
    return f"{said}."


def _range(interval: Interval) -> str:
    return f"{number(interval.low, 3)} to {number(interval.high, 3)} dB"


def _compared(part: str, title: str, runs: Sequence[RunFacts]) -> str:
    """A line for each model that was compared with float, and one for float where there are labels."""
    found = [(run, getattr(run.result, part)) for run in runs]
    if all(compared is None for _, compared in found):
        return ""
    rows, first = [], dict[str, list[Cell]]()
    for run, compared in found:
        if compared is None:
            continue
        for stage, name in (*_TITLES.items(), ("float", "float")):
            accuracy = getattr(compared, stage)
            if accuracy is None:
                continue
            label = f"{run.label}, {name}" if len(runs) > 1 else name
            cells = _line(run, part, stage, accuracy)
            like = first.setdefault(stage, cells)
            rows.append([words(label), *map(_marked, cells, like)])
    heads = ["", "samples", "SQNR", "95 % interval", "NMSE", "cosine", "top-1", "top-5"]
    used = [i for i in range(len(heads)) if i < 2 or any(row[i].html != NOTHING for row in rows)]
    shown = table([heads[i] for i in used], [[row[i] for i in used] for row in rows])
    return element("h3", text(title)) + shown + _measures(part, runs)


def _line(run: RunFacts, part: str, stage: str, accuracy: Accuracy | FloatAccuracy) -> list[Cell]:
    """Samples, SQNR, interval, NMSE, cosine, top-1 and top-5."""
    images = getattr(run.result, part).images
    interval = run.held_out.sqnr_db.get(stage) if run.held_out and part == "holdout" else None
    return [
        numeric(str(images), images, metric=f"{part}/images"),
        _figure(accuracy, "sqnr_db", decibels, part, stage),
        words(_range(interval) if interval else NOTHING),
        *(_figure(accuracy, field, show, part, stage) for field, show in _FIGURES.items()),
    ]


def _figure(
    accuracy: Accuracy | FloatAccuracy, field: str, show: Callable[[float], str], part: str, stage: str
) -> Cell:
    value = getattr(accuracy, field, None)
    return words(NOTHING) if value is None else numeric(show(value), value, metric=f"{part}/{stage}/{field}")


def _marked(cell: Cell, first: Cell) -> Cell:
    """The cell, marked where it is not what the first run has."""
    return replace(cell, differs=cell.html != first.html)


def _costs(runs: Sequence[RunFacts]) -> str:
    rows = []
    for label, fact in _facts():
        cells = [fact(run) for run in runs]
        if any(cell.html != NOTHING for cell in cells):
            rows.append([words(label), *(_marked(cell, cells[0]) for cell in cells)])
    return table(["", *(run.label for run in runs)], rows)


def _facts() -> list[tuple[str, Fact]]:
    return [
        ("network", lambda run: words(Path(str(run.record.get("model", {}).get("path", NOTHING))).name)),
        ("verb", lambda run: words(run.command or NOTHING)),
        ("size of the INT8 model", lambda run: numeric(size(run.int8_bytes), run.int8_bytes)),
        ("size of the float model", lambda run: numeric(size(run.float_bytes), run.float_bytes)),
        ("layers that compute in float", _float_layers),
        ("multiplications on integer kernels", _on_integers),
        ("time", _cost("seconds", duration)),
        ("ran on", _place),
        ("float forward passes", _cost("fp32_forwards", _count)),
        ("INT8 forward passes", _cost("int8_forwards", _count)),
        ("peak memory", _cost("peak_rss_mb", lambda mebibytes: size(mebibytes * 2**20))),
    ]


def _count(value: float) -> str:
    return f"{value:,.0f}"


def _place(run: RunFacts) -> Cell:
    workers, device = run.result.cost.workers, run.record.get("device")
    if not workers or device is None:
        return words(NOTHING)
    kind = run.record.get("options", {}).get("executor", "")
    machine = run.record.get("integer_instructions") or ""
    where = f"{workers} {'worker' if workers == 1 else 'workers'} ({kind}) on {device}, {machine}"
    return words(where.removesuffix(", "))


def _float_layers(run: RunFacts) -> Cell:
    return numeric(str(len(run.result.float_layers)), len(run.result.float_layers))


def _on_integers(run: RunFacts) -> Cell:
    found = run.result.integer_kernels
    if found is None:
        return words(NOTHING)
    metric = "integer_kernels/multiplications"
    return numeric(share(found.multiplications), found.multiplications, metric=metric)


def _measures(part: str, runs: Sequence[RunFacts]) -> str:
    """What the user's measures say, a line a figure; empty where there are none."""
    rows = []
    for run in runs:
        compared = getattr(run.result, part)
        for place, measured in enumerate(compared.measures if compared is not None else ()):
            for name in measured.before:
                label = name if name == measured.measure else f"{measured.measure}, {name}"
                cells = [
                    _measured(getattr(measured, stage), name, f"{part}/measures/{place}/{stage}")
                    for stage in ("before", "after", "float")
                ]
                rows.append([words(f"{run.label}, {label}" if len(runs) > 1 else label), *cells])
    return table(["measure", "calibrated", "tuned", "float"], rows) if rows else ""


def _measured(figures: Mapping[str, float] | None, name: str, where: str) -> Cell:
    if figures is None or name not in figures:
        return words(NOTHING)
    return numeric(number(figures[name], 6), figures[name], metric=f"{where}/{name}")


def _cost(field: str, show: Callable[[float], str]) -> Callable[[RunFacts], Cell]:
    def cell(run: RunFacts) -> Cell:
        value = getattr(run.result.cost, field)
        return numeric(show(value), value, metric=f"cost/{field}")

    return cell


def _warnings(run: RunFacts, *, named: bool) -> str:
    found = [*run.result.warnings, *_noticed(run)]
    if not found:
        return ""
    title = f"To look at, {run.label}" if named else "To look at"
    items = [element("li", text(warning)) for warning in found]
    return element("div", element("h3", text(title)), element("ul", *items), class_="warnings")


def _clips_much(fit: Fit) -> bool:
    """Whether many values are clipped, by more than a step: at the bound of a ReLU6 it is less."""
    return fit.clipped > _CLIPPED and fit.over_largest < 1 - 1 / 128


def _noticed(run: RunFacts) -> list[str]:
    """What the distributions show."""
    quantized = [t for t in run.tensors if t.row is not None and t.distribution is not None]
    clipped = [t.name for t in quantized if t.fit is not None and _clips_much(t.fit)]
    constant = [t.name for t in quantized if t.distribution and t.distribution.min == t.distribution.max]
    broken = [t.name for t in quantized if t.distribution and t.distribution.nonfinite]
    gain = run.held_out.gain_db if run.held_out else None
    notes = [
        (clipped, f"more than {share(_CLIPPED)} of the values are clipped"),
        (constant, "constant in all samples"),
        (broken, "has values that are not finite"),
    ]
    said = [f"{why}: {_listed(names)}" for names, why in notes if names]
    if gain is not None and gain.low <= 0 <= gain.high and not math.isclose(gain.low, gain.high):
        said.append("the gain of the search on held-out samples may be chance: its interval holds 0")
    return said


def _listed(names: Sequence[str]) -> str:
    more = len(names) - _NAMED
    return ", ".join(names[:_NAMED]) + (f" and {more} more" if more > 0 else "")
