"""Of several networks that ``auto`` searched, the report has the search of the one that it chose."""

from __future__ import annotations

from pathlib import Path

from job_helpers import journal_notes, read_json, thresholds

import distq


def test_figures_are_those_of_the_chosen_networks_search(model: Path, data: Path, tmp_path: Path) -> None:
    tries = ("strategy=bitmain", "strategy=default")
    options = {"goal": "sqnr:60", "tries": tries, "method": "max", "samples": 8, "executor": "local"}
    found = distq.auto(model=model, data=data, out=tmp_path / "run", **options)
    assert found.auto is not None
    notes = journal_notes(tmp_path / "run")
    searches = list(dict.fromkeys(note["search"] for note in notes))
    assert len(searches) >= 2
    own = read_json(tmp_path / "run" / "run.json")["search"]
    assert own == searches[-1], "the answer is made once more, which is searched last"
    chosen = {note["name"]: note["after"] for note in notes if note["search"] == own}
    table = thresholds(tmp_path / "run")
    assert found.layers
    for layer in found.layers:
        assert layer.threshold == table[layer.name]["threshold"]
        assert layer.after == chosen[layer.name]
