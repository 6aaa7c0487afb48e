"""Tensors searched several at a time are decided as if one after another."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from replica_helpers import Bench

from distq.engine.journal import Journal
from distq.engine.local import LocalExecutor
from distq.graph.rows import encodings, with_threshold
from distq.run.context import Run
from distq.search.strategy import STRATEGIES
from distq.stages import decide
from distq.stages.scoring import NetworkScorer
from distq.stages.search import search


class Three(LocalExecutor):
    """Says it has three workers."""

    workers = 3


def searched(folder: Path, bench: Bench, run: Run, tensors_per_image: float) -> tuple[list[object], ...]:
    """Table, state's encodings, and what was noted of each tensor but the time."""
    plan = bench.plan
    table = {  # so narrow that much is found
        q.name: with_threshold(plan, q, row, row.threshold * (0.5 if i % 2 else 1.0), "narrow")
        for i, q in enumerate(plan.quantizers)
        for row in [bench.table[q.name]]
    }
    form = replace(
        bench.form, table=table, state=replace(bench.state, encodings=encodings(bench.form.plan, table))
    )
    folder.mkdir()
    with Journal(folder / "journal") as journal, pytest.MonkeyPatch.context() as patch:
        patch.setattr(decide, "TENSORS_PER_IMAGE", tensors_per_image)
        tuned = search(replace(run, journal=journal), run.options, form, list(plan.quantizers))
        notes = [{k: v for k, v in note.items() if k != "seconds"} for note in journal.notes("layer")]
    return [tuned.table], [tuned.state.encodings], notes


@pytest.mark.parametrize(
    ("name", "target"), [("many branches", "ort"), ("four outputs", "openvino"), ("SiLU", "tensorrt")]
)
def test_they_are_decided_as_one_after_another(tmp_path: Path, name: str, target: str) -> None:
    bench = Bench(tmp_path, name, target, samples=12)
    run = replace(bench.opened(), executor=Three(bench.worker.settings))
    apart = searched(tmp_path / "apart", bench, run, 1e9)
    together = searched(tmp_path / "together", bench, run, 0)
    assert together == apart
    accepted = [note["accepted"] for note in together[2]]
    assert any(accepted)
    assert not all(accepted)


@pytest.mark.parametrize(("strategy", "effort"), [("default", 1), ("default", 5), ("grid", 2)])
def test_by_every_rule_that_goes_by_the_network(tmp_path: Path, strategy: str, effort: int) -> None:
    bench = Bench(tmp_path, "many branches", samples=6)
    options = bench.opened().options.model_copy(update={"strategy": strategy, "effort": effort})
    run = replace(bench.opened(), options=options, executor=Three(bench.worker.settings))
    apart = searched(tmp_path / "apart", bench, run, 1e9)
    assert searched(tmp_path / "together", bench, run, 0) == apart


def test_each_worker_has_a_tensor_where_these_are_many_and_images_few(tmp_path: Path) -> None:
    bench = Bench(tmp_path, "many branches", samples=6)
    run, tensors = bench.opened(), list(bench.plan.quantizers)
    assert len(tensors) >= 6
    default = STRATEGIES["default"](3)
    assert isinstance(decide.open_decider(run, default, bench.form, tensors), decide.OneAWorker)
    few = decide.open_decider(run, default, bench.form, tensors[:5])
    assert isinstance(few, decide.OneAfterAnother)
    many = type("Many", (LocalExecutor,), {"workers": 5})(bench.worker.settings)
    crowd = decide.open_decider(replace(run, executor=many), default, bench.form, tensors)
    assert isinstance(crowd, decide.OneAfterAnother)


def test_a_unit_that_differs_in_anything_that_matters_has_another_key(tmp_path: Path) -> None:
    bench = Bench(tmp_path, "many branches")
    scorer = NetworkScorer(bench.opened(), bench.form)
    default, other = STRATEGIES["default"](3), STRATEGIES["default"](4)
    first, second = bench.plan.quantizers[1:3]
    row = bench.table[first.name]
    changed = with_threshold(bench.plan, first, row, row.threshold / 2, "other")
    form = bench.form
    other_row = replace(form, table={**bench.table, first.name: changed})
    other_state = replace(form, state=bench.state.with_encoding(first.name, changed.encoding))
    unit = scorer.whole_search(default, first, form, 0)
    keys = {
        unit.key,
        scorer.whole_search(other, first, form, 0).key,
        scorer.whole_search(default, second, form, 0).key,
        scorer.whole_search(default, first, other_row, 0).key,
        scorer.whole_search(default, first, other_state, 0).key,
        replace(unit, current=unit.current * 2).key,
        replace(unit, power=unit.power * 2).key,
        replace(unit, reached=~unit.reached).key,
        replace(unit, indices=unit.indices[:2]).key,
        replace(unit, float_model=bench.blob).key,
    }
    assert len(keys) == 10
    assert replace(unit, affinity=3).key == unit.key
