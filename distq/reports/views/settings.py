"""Settings, versions and hashes, and the command that repeats a run."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from distq.reports.command import command_of
from distq.reports.facts import RunFacts
from distq.reports.html import NOTHING, Cell, element, section, table, text, words

_SECTIONS = ("job", "options", "versions", "model", "data", "holdout", "preprocessing", "files")
_SKIPPED = {"float_layers", "warnings", "sha256"}


def settings(runs: Sequence[RunFacts]) -> str:
    """The view."""
    commands = []
    for run in runs:
        command = command_of(run.record)
        if command:
            label = [element("h3", text(run.label))] if len(runs) > 1 else []
            commands += [*label, element("pre", element("code", text(command)), tabindex="0")]
    flat = [dict(_flat(run.record)) for run in runs]
    names = dict.fromkeys(name for record in flat for name in record)
    rows = []
    for name in names:
        values = [record.get(name, NOTHING) for record in flat]
        rows.append([Cell(element("code", text(name))), *(words(v, differs=v != values[0]) for v in values)])
    heads = ["", *(run.label for run in runs)]
    details = element("details", element("summary", "All settings, versions and hashes"), table(heads, rows))
    title = "The command that repeats it" if len(runs) == 1 else "The commands that repeat them"
    return section("settings", title, *commands, details)


def _flat(record: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """What ``run.json`` says, a line a value."""
    for name, value in record.items():
        if name in _SKIPPED:
            continue
        if name in _SECTIONS and isinstance(value, dict):
            for inner, one in value.items():
                yield f"{name}.{inner}", _shown(one)
        else:
            yield name, _shown(value)


def _shown(value: object) -> str:
    if value is None or value == []:
        return NOTHING
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
