"""Other thresholds are searched from only if they are better once weights and biases are made for them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from replica_helpers import Bench

from distq.engine.journal import Journal
from distq.graph.rows import with_threshold
from distq.stages import start as starts
from distq.stages.correct import corrected
from distq.stages.start import best_form


@pytest.mark.parametrize(("gain", "taken"), [(0.0, False), (0.001, False), (0.3, True)])
def test_other_thresholds_have_to_be_better_when_they_are_corrected_for(
    tmp_path: Path, gain: float, taken: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench = Bench(tmp_path, "many branches")
    noise = np.random.default_rng(0).normal(0, 0.05, (2, 16))
    monkeypatch.setattr(
        starts, "tuning_diffs", lambda *_: [1.0 + noise[0], 1.0 + noise[1] - noise[1].mean() - gain]
    )
    with Journal(tmp_path / "journal") as journal:
        run = replace(bench.opened(), journal=journal)
        form = corrected(run, bench.form)
        table = {
            q.name: with_threshold(bench.plan, q, row, row.threshold * 0.9, "other")
            for q in bench.plan.quantizers
            for row in [bench.table[q.name]]
        }
        found = best_form(run, run.options, form, replace(form, table=table), even=False)
        assert found.model is form.model
        if not taken:
            assert found is form
        else:
            assert found.table is table
            assert found.state.encodings == {name: row.encoding for name, row in table.items()}
            biases = form.state.biases
            assert any(not np.array_equal(found.state.biases[n], biases[n]) for n in biases)
        assert best_form(run, run.options, form, form, even=False) is form
