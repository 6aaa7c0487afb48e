"""Other thresholds are searched from only if they are better once weights and biases are made for them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from replica_helpers import Bench

from distq.engine.journal import Journal
from distq.graph.rows import with_threshold
from distq.jobs import start as starts
from distq.jobs.calibrate import corrected_state
from distq.jobs.start import best_form


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
        job = replace(bench.job(), journal=journal)
        state = corrected_state(job, bench.table)
        start = {
            q.name: with_threshold(bench.plan, q, row, row.threshold * 0.9, "other")
            for q in bench.plan.quantizers
            for row in [bench.table[q.name]]
        }
        form, table, found = best_form(job, bench.table, state, start, even=False)
        assert form is job
        if not taken:
            assert table is bench.table
            assert found is state
        else:
            assert table is start
            assert found.encodings == {name: row.encoding for name, row in start.items()}
            assert any(not np.array_equal(found.biases[n], state.biases[n]) for n in state.biases)
        assert best_form(job, bench.table, state, bench.table, even=False) == (job, bench.table, state)
