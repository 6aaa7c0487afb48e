"""Latency, memory and file size of INT8 beside float, as the run timed them."""

from __future__ import annotations

from collections.abc import Sequence

from distq.errors import plural
from distq.reports.facts import RunFacts
from distq.reports.html import NOTHING, Cell, element, number, numeric, paragraph, size, table, text, words
from distq.run.figures import Latency, Speed

_MIB = 1 << 20


def speed(runs: Sequence[RunFacts]) -> str:
    """A table; empty where no run was timed."""
    timed = [(run, run.result.speed) for run in runs if run.result.speed is not None]
    if not timed:
        return ""
    rows = []
    for run, found in timed:
        before = f"{run.label}, " if len(runs) > 1 else ""
        for name, field, model in (
            ("float", "against", found.against),
            ("INT8", "candidate", found.candidate),
        ):
            if model is not None:
                rows.append([words(f"{before}{name}"), *_cells(found, field, model)])
    heads = ["", "median", "10 to 90 %", "peak memory", "file size", "times faster"]
    notes = dict.fromkeys(_conditions(found) for _, found in timed)
    return "".join(
        (
            element("h3", "Speed and size"),
            table(heads, rows),
            paragraph(text(f"{'; '.join(notes)}."), class_="note"),
        )
    )


def _cells(found: Speed, field: str, model: Latency) -> list[Cell]:
    where = f"speed/{field}"
    ratio = found.ratio if field == "candidate" else None
    return [
        numeric(_ms(model.median_ms), model.median_ms, metric=f"{where}/median_ms"),
        words(f"{number(model.low_ms, 3)} to {_ms(model.high_ms)}"),
        numeric(size(model.memory_mb * _MIB), model.memory_mb, metric=f"{where}/memory_mb"),
        numeric(size(model.file_mb * _MIB), model.file_mb, metric=f"{where}/file_mb"),
        words(NOTHING) if ratio is None else numeric(number(ratio, 3), ratio, metric="speed/ratio"),
    ]


def _ms(value: float) -> str:
    return f"{number(value, 3)} ms"


def _conditions(found: Speed) -> str:
    provider = found.provider.removesuffix("ExecutionProvider")
    threads = plural(found.threads, "thread")
    times = f"{found.runs} times each in turns, on the machine of the driver"
    return f"One sample on {provider} with {threads}, {times}"
