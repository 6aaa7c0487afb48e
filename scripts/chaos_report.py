"""What scripts/chaos finds out of each run, kept in a file of JSON lines, and the table of all of them."""

from __future__ import annotations

import itertools
import json
import statistics
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from chaos_faults import ENDS_DRIVER, KINDS, MESSAGES
from chaos_run import FILES, Fault, Run

BAD = (
    "lines that are no message",
    "runs that failed or hung",
    "files that differ",
    "units finished twice",
    "files and processes left behind",
)

Outcome = dict[str, Any]


def outcome(run: Run, code: int, seconds: float, undisturbed: Run, left: Iterable[str]) -> Outcome:
    """What came of a run.

    Args:
        run: it.
        code: exit code of its last driver.
        seconds: that it took.
        undisturbed: the same job without a fault.
        left: processes and files outside of RUN that are there after it.
    """
    expected = undisturbed.content()
    found = run.content()
    behind = [*left, *sorted(run.names() - undisturbed.names())]
    return {
        "command": run.command,
        "seconds": round(seconds, 1),
        "faults": list(_faults(run)),
        "left": behind,
        "said": run.errors,
        "bad": {
            "lines that are no message": sum(not MESSAGES.match(line) for line in run.errors),
            "runs that failed or hung": int(code != 0),
            "files that differ": sum(found.get(name) != expected.get(name) for name in FILES),
            "units finished twice": run.finished_twice(),
            "files and processes left behind": len(behind),
        },
    }


def _faults(run: Run) -> Iterable[Outcome]:
    for fault, following in itertools.pairwise([*run.faults, Fault("end", float("inf"))]):
        after = [when - fault.when for when, _ in run.units if when > fault.when]
        repeated = sum(count for when, count in run.again if fault.when < when <= following.when)
        yield {"kind": fault.kind, "recovery": after[0] if after else None, "repeated": repeated}


def line(number: int, found: Outcome) -> str:
    """One run for a person, with what its drivers said below."""
    kinds = ", ".join(fault["kind"] for fault in found["faults"]) or "nothing"
    bad = ", ".join(f"{what}: {count}" for what, count in found["bad"].items() if count)
    said = [f"  {text}" for text in (*found["left"], *found["said"])]
    return "\n".join(
        [f"{number} {found['command']}, {found['seconds']} s: {kinds}: {bad or 'same bytes'}", *said]
    )


def read(record: Path | None) -> list[Outcome]:
    """Outcomes of runs before; none where there is no file."""
    if record is None or not record.exists():
        return []
    return [json.loads(text) for text in record.read_text(encoding="utf-8").splitlines()]


def total(outcomes: Sequence[Outcome]) -> Counter[str]:
    """How often each bad thing was seen."""
    bad: Counter[str] = Counter()
    for found in outcomes:
        bad.update(found["bad"])
    return bad


def table(outcomes: Sequence[Outcome]) -> str:
    """How often what was done, how soon it went on, and what was bad."""
    lines = [f"\n{'fault':10}{'times':>6}{'units repeated':>16}{'recovery p50':>14}{'p95':>8}{'longest':>9}"]
    faults = [fault for found in outcomes for fault in found["faults"]]
    for kind in (*KINDS, "all"):
        of_it = [fault for fault in faults if kind in {fault["kind"], "all"}]
        seconds = [fault["recovery"] for fault in of_it if fault["recovery"] is not None]
        figures = [*percentiles(seconds), max(seconds)] if seconds else []
        p50, p95, longest = (f"{s:.2f} s" for s in figures) if figures else "---"
        count = "-" if kind in ENDS_DRIVER else str(sum(fault["repeated"] for fault in of_it))
        if of_it:
            lines.append(f"{kind:10}{len(of_it):6}{count:>16}{p50:>14}{p95:>8}{longest:>9}")
    for command, runs in itertools.groupby(
        sorted(outcomes, key=lambda found: str(found["command"])), key=lambda found: str(found["command"])
    ):
        of_command = list(runs)
        took = sum(found["seconds"] for found in of_command)
        lines.append(f"{len(of_command)} runs of {command}, {took / 60:.0f} minutes")
    bad = total(outcomes)
    return "\n".join([*lines, *(f"{what}: {bad[what]}" for what in BAD)])


def percentiles(values: Sequence[float]) -> tuple[float, float]:
    """The 50th and the 95th."""
    if len(values) == 1:
        return values[0], values[0]
    cuts = statistics.quantiles(values, n=20, method="inclusive")
    return cuts[9], cuts[18]
