"""An equalized network has the thresholds of MSE, or of the start's method where these are clearly better."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from replica_helpers import Bench

from distq.engine.journal import Journal
from distq.graph.rows import with_threshold
from distq.quant.table import HEADROOM
from distq.stages import start as starts
from distq.stages.form import Form
from distq.stages.method import method_of
from distq.stages.start import best_form


def by(bench: Bench, form: Form, method: str) -> Form:
    rows = {
        q.name: with_threshold(bench.plan, q, form.table[q.name], form.table[q.name].threshold, method)
        for q in bench.plan.in_table
    }
    return replace(form, table=rows)


@pytest.mark.parametrize(
    ("own", "left", "taken"),
    [("max", 0.5, "max"), ("max", 0.75, "mse"), ("max", 0.9, "mse"), ("mse", 0.5, "mse")],
)
def test_another_method_has_to_be_clearly_better_on_the_equalized_network(
    tmp_path: Path, own: str, left: float, taken: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench = Bench(tmp_path, "many branches")
    form = by(bench, bench.form, own)
    evened = by(bench, bench.form, f"mse{HEADROOM}")
    noise = np.random.default_rng(0).normal(0, 0.01, 16)
    made: list[str] = []

    def other(_run: object, given: Form, _chosen: object, method: str) -> Form:
        made.append(method)
        return by(bench, given, method + HEADROOM)

    monkeypatch.setattr(starts, "evened_sites", lambda *_: {})
    monkeypatch.setattr(starts, "promising", lambda *_: {"evened out": {}})
    monkeypatch.setattr(starts, "evened_form", lambda *_: evened)
    monkeypatch.setattr(starts, "evened_by", other)
    monkeypatch.setattr(starts, "corrected_together", lambda _, forms: forms)
    diffs = [1 + noise, 0.8 + noise, left + noise]
    monkeypatch.setattr(starts, "tuning_diffs", lambda _run, _stage, forms: diffs[: len(forms)])
    with Journal(tmp_path / "journal") as journal:
        run = replace(bench.opened(), journal=journal)
        found = best_form(run, run.options, form, form, even=True)
    assert method_of(found) == taken
    assert made == ["max"] * (own == "max")
    assert all(row.has_headroom for row in found.table.values())
