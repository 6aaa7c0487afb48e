"""What each layer costs is measured as the network becomes INT8 layer by layer."""

from __future__ import annotations

from pathlib import Path

import pytest
from networks import SETTINGS
from replica_helpers import Bench

from distq.graph.variants import FloatPart
from distq.replica.session import Session
from distq.search.metrics import compare, merge, nmse
from distq.stages.part_errors import part_errors
from distq.stages.sensitivity import Variants, _in_rows


@pytest.mark.parametrize("target", ["ort", "openvino"])
def test_the_parts_together_cost_about_what_the_network_loses(tmp_path: Path, target: str) -> None:
    bench = Bench(tmp_path, "many branches", target)
    run, form = bench.opened(), bench.form
    found = part_errors(run, form, len(bench.indices))
    assert found.activations.keys() == {q.name for q in form.plan.quantizers}
    assert found.weights.keys() == {layer.name for layer in form.plan.layers if layer.weight is not None}
    parts = [error.nmse for error in (*found.activations.values(), *found.weights.values())]
    assert min(parts) >= 0
    exact = Session(bench.loaded.serialized(), SETTINGS, float_network=True)
    model = Session(form.exported, SETTINGS, fused=True)
    whole = nmse(merge([compare(model.run(feeds), exact.run(feeds)) for feeds in bench.feeds]))
    assert whole / 3 < sum(parts) < 3 * whole


def test_the_steps_lead_from_float_to_the_int8_network(tmp_path: Path) -> None:
    """One step between the two is the error of the whole."""
    bench = Bench(tmp_path, "many branches", "openvino")
    variants = Variants(bench.opened(), bench.form, None)
    layers = bench.form.plan.layers
    every = variants.behind(bench.form.plan.by_tensor.keys(), layers)
    (step,) = variants.errors_of_steps("steps", [every, FloatPart()])
    (whole,) = variants.errors("whole", [FloatPart()])
    assert step.nmse == pytest.approx(whole.nmse, rel=1e-3)


def test_a_unit_takes_steps_that_follow_one_another() -> None:
    assert _in_rows([1, 2, 4, 6, 7, 8]) == [[1, 2], [6, 7], [4], [8]]
    assert [len(row) for row in _in_rows(range(1, 54))] == [7, 7, 7, 7, 7, 6, 6, 6]
    assert _in_rows([5]) == [[5]]
    assert _in_rows([]) == []
