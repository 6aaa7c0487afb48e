"""The worst samples: what they look like, and how far INT8 is from float on each."""

from __future__ import annotations

from collections.abc import Sequence

from distq.reports.detections import boxes_drawn
from distq.reports.facts import RunFacts, SampleFacts
from distq.reports.html import (
    NOTHING,
    Cell,
    decibels,
    element,
    numeric,
    paragraph,
    section,
    share,
    side_by_side,
    table,
    text,
    words,
)

_NAMES = {"float": "float", "before": "calibrated", "after": "tuned"}


def samples(runs: Sequence[RunFacts]) -> str:
    """The view; empty where the journals do not have the samples."""
    if not any(run.worst for run in runs):
        return ""
    said = (
        "The held-out samples with the largest parts of the error of the outputs. Right: whether the first "
        "choice is the label."
    )
    if any(sample.boxes for run in runs for sample in run.worst):
        said += (
            " Boxes are what a network is sure of, wide and blue of float, thin and red of INT8; the pointer "
            "shows class and score."
        )
    note = paragraph(said, class_="note")
    panels = side_by_side([(run.label, _panel(run)) for run in runs], wide=True)
    return section("samples", "The worst samples", note, panels)


def _panel(run: RunFacts) -> str:
    if not run.worst:
        return ""
    stages = [stage for stage in ("before", "after") if stage in run.worst[0].sqnr_db]
    pictured = any(sample.look.picture for sample in run.worst)
    judged = any(sample.right for sample in run.worst)
    heads = ["sample", *([""] if pictured else []), *(f"SQNR, {_NAMES[stage]}" for stage in stages)]
    found = any(sample.boxes for sample in run.worst)
    heads += ["boxes of float, INT8"] if found else []
    heads += ["part of the error", *(["label", "right"] if judged else [])]
    rows = []
    for sample in run.worst:
        look = sample.look
        cells = [words(f"{look.index}: {look.name}" if look.name else f"{look.index}")]
        if pictured:
            cells.append(Cell(_picture(sample)))
        cells += [numeric(decibels(sample.sqnr_db[stage]), sample.sqnr_db[stage]) for stage in stages]
        if found:
            cells.append(words(_counts(sample)))
        cells.append(numeric(share(sample.share), sample.share))
        if judged:
            cells += [words(NOTHING if look.label is None else look.label), Cell(_answers(sample))]
        rows.append(cells)
    return table(heads, rows)


def _picture(sample: SampleFacts) -> str:
    if not sample.look.picture:
        return NOTHING
    picture = element("img", src=sample.look.picture, alt=f"sample {sample.look.index}", loading="lazy")
    picture = picture.removesuffix("</img>")
    if not sample.boxes or sample.look.size is None:
        return picture
    return element("div", picture, boxes_drawn(sample.boxes, sample.look.size), class_="boxed")


def _counts(sample: SampleFacts) -> str:
    if not sample.boxes:
        return NOTHING
    other = [len(found) for name, found in sample.boxes.items() if name != "float"]
    return f"{len(sample.boxes.get('float', ()))}, {sum(other)}"


def _answers(sample: SampleFacts) -> str:
    """Who is right; marked where INT8 is wrong and float is not."""
    judged = [(name, sample.right[stage]) for stage, name in _NAMES.items() if stage in sample.right]
    said = [f"{name} {'yes' if right else 'no'}" for name, right in judged]
    final = sample.right.get("after", sample.right.get("before"))
    lost = sample.right.get("float") and final is False
    return element("span", text(", ".join(said)), class_="reason" if lost else None)
