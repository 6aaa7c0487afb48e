"""What ``distq auto`` tried for its goal, and what it took."""

from __future__ import annotations

from collections.abc import Sequence

from distq.reports.facts import RunFacts
from distq.reports.html import (
    NOTHING,
    Cell,
    number,
    numeric,
    paragraph,
    section,
    share,
    side_by_side,
    table,
    text,
    words,
)
from distq.run.auto_report import AutoReport, TriedNetwork


def goal(runs: Sequence[RunFacts]) -> str:
    """The view; empty where no run is of ``auto``."""
    if not any(run.result.auto for run in runs):
        return ""
    panels = [(run.label, _panel(run.result.auto) if run.result.auto else "") for run in runs]
    return section("goal", "What was tried for the goal", side_by_side(panels, wide=True))


def _panel(report: AutoReport) -> str:
    said = f"Goal {report.goal}: {'reached' if report.reached else 'not reached'}; taken: {report.chosen}."
    if not report.complete:
        said += " The search did not come to its end."
    failed = [f"{name} could not be made: {why}" for name, why in report.not_made.items()]
    heads = ["network", report.measure, "not in INT8", "layers", "latency, ms", "samples", "goal", "best"]
    rows = [_row(network, place, report) for place, network in enumerate(report.tried)]
    reasons = [[words(reason.name), words(reason.kind), words(reason.text)] for reason in report.reasons]
    return "".join(
        (
            paragraph(text(said), class_="lead"),
            *(paragraph(text(said), class_="reason") for said in (*report.obstacles, *failed)),
            paragraph(
                "Measured on the tuning samples. Not in INT8: share of the multiplications. Best: none "
                "measured on all samples is better and costs no more.",
                class_="note",
            ),
            table(heads, rows, sortable=True),
            table(["better than 8 bit", "as", "why"], reasons) if reasons else "",
        )
    )


def _row(network: TriedNetwork, place: int, report: AutoReport) -> list[Cell]:
    where = f"auto/tried/{place}"
    name = f"{network.name} (taken)" if network.name == report.chosen else network.name
    reading = network.reading
    shown = words("∞") if reading is None else numeric(number(reading), reading, metric=f"{where}/reading")
    return [
        words(name),
        shown,
        numeric(share(network.macs), network.macs, metric=f"{where}/macs"),
        numeric(str(network.layers), network.layers, metric=f"{where}/layers"),
        numeric(number(network.latency_ms), network.latency_ms),
        numeric(str(network.samples), network.samples, metric=f"{where}/samples"),
        words("given up" if network.dropped else "met" if network.met else NOTHING),
        words("yes" if network.pareto else NOTHING),
    ]
