from dataclasses import replace

import numpy as np
import pytest
from replica_helpers import Bench, Crowd, numbers

from distq.engine.journal import Journal
from distq.engine.run import Tally
from distq.graph.equalize import equalized, sites
from distq.graph.placement import make_plan
from distq.quant import rounding
from distq.quant.channel_factors import Evened
from distq.replica import correction as unit
from distq.replica.moments import InputMoments
from distq.stages import correct as correction
from distq.stages.correct import corrected_again, cut_into, round_and_correct
from distq.stages.equalize import scaled_means
from distq.stages.float_means import with_float_means
from distq.stages.form import Form


def corrected(run, form):
    return round_and_correct(run, [form])[0]


def with_scale(form, name, factor):
    """The form with another scale of one quantizer."""
    encoding = form.state.encodings[name]
    changed = replace(encoding, scale=encoding.scale * factor)
    return replace(form, state=form.state.with_encoding(name, changed))


@pytest.mark.parametrize("name", ["many branches", "SiLU", "detector"])
def test_one_worker_and_many_that_share_the_samples_correct_to_the_same_bits(tmp_path, name, monkeypatch):
    monkeypatch.setattr(correction, "LEAST_STAGE_WORK", 1)
    bench = Bench(tmp_path, name)
    run = bench.opened()
    form = with_float_means(run, bench.form)
    with Journal(tmp_path / "journal") as journal:
        crowd = replace(run, executor=Crowd(bench.worker.settings), journal=journal)
        shared = corrected(crowd, form)
        assert crowd.tally.ran > 2 * len(form.means)
    alone = corrected(run, form)
    assert numbers(shared) == numbers(alone)
    assert numbers(alone) != numbers(form)


@pytest.mark.parametrize("name", ["many branches", "Gemm, transposed", "MatMul of a stack", "ConvTranspose"])
def test_a_large_layer_that_several_units_round_gets_the_same_bits(tmp_path, name, monkeypatch):
    monkeypatch.setattr(correction, "LEAST_STAGE_WORK", 1)
    monkeypatch.setattr(unit, "LEAST_DIVIDED", 1)
    for module in (unit, rounding):
        monkeypatch.setattr(module, "OUTPUTS_TOGETHER", 2)
    bench = Bench(tmp_path, name)
    run = bench.opened()
    form = with_float_means(run, bench.form)
    alone = corrected(run, form)
    assert numbers(alone) != numbers(form)
    with Journal(tmp_path / "journal") as journal:
        crowd = replace(run, executor=Crowd(bench.worker.settings), journal=journal)
        assert numbers(corrected(crowd, form)) == numbers(alone)
        ran = crowd.tally.ran
        assert numbers(corrected(crowd, form)) == numbers(alone)
        assert crowd.tally.ran == ran, "all of it is in the journal"


def test_what_several_layers_read_is_measured_once(tmp_path, monkeypatch):
    monkeypatch.setattr(correction, "LEAST_STAGE_WORK", 1)
    bench = Bench(tmp_path, "many branches")
    run = bench.opened()
    form = with_float_means(run, bench.form)
    measured = []
    whole = InputMoments.run

    def noted(unit: InputMoments, worker):
        measured.append((unit.advance.key, unit.input, tuple(unit.indices)))
        return whole(unit, worker)

    monkeypatch.setattr(InputMoments, "run", noted)
    for executor in (run.executor, Crowd(bench.worker.settings)):
        measured.clear()
        before = run.cost_so_far.int8_forwards
        with Journal(tmp_path / f"journal of {executor.workers}") as journal:
            corrected(replace(run, executor=executor, journal=journal), form)
        assert len(set(measured)) == len(measured)
        samples = len({i for _, _, indices in measured for i in indices})
        assert run.cost_so_far.int8_forwards - before <= samples


def test_forms_corrected_together_are_those_corrected_one_by_one(tmp_path):
    bench = Bench(tmp_path, "many branches")
    run = bench.opened()
    form = with_float_means(run, bench.form)
    forms = [form, with_scale(form, next(iter(form.state.encodings)), 0.5)]
    together = round_and_correct(run, forms)
    assert [numbers(f) for f in together] == [numbers(corrected(run, f)) for f in forms]


def test_a_layer_in_front_of_a_sigmoid_stays_as_it_is_unless_it_lies_behind_what_changed(tmp_path):
    bench = Bench(tmp_path, "detector")
    run = bench.opened()
    before = corrected(run, with_float_means(run, bench.form))
    after = corrected_again(run, with_scale(before, "r", 0.8), ["r"])
    biases = before.state.biases
    moved = {name for name in biases if not np.array_equal(after.state.biases[name], biases[name])}
    assert moved
    assert all("coarse" in name for name in moved)


@pytest.mark.parametrize("position", range(6))
def test_correcting_what_lies_behind_a_changed_threshold_is_correcting_everything(tmp_path, position):
    bench = Bench(tmp_path, "many branches")
    run = bench.opened()
    form = corrected(run, with_float_means(run, bench.form))
    name = list(form.state.encodings)[position]
    changed = with_scale(form, name, 0.8)
    assert numbers(corrected_again(run, changed, [name])) == numbers(corrected(run, changed))


@pytest.mark.parametrize(
    ("channels", "kernel", "blocks"),
    [(128, 9, 1), (256, 9, 2), (512, 9, 4), (4096, 1, 4), (1200, 1, 2), (1201, 1, 1201), (3, 2401, 3)],
)
def test_many_inputs_are_cut_into_the_fewest_equal_blocks_of_channels(channels, kernel, blocks):
    assert cut_into(channels, kernel) == blocks


@pytest.mark.parametrize("target", ["ort", "openvino"])
def test_means_of_a_network_with_its_channels_scaled_follow_from_those_it_had(tmp_path, target):
    bench = Bench(tmp_path, "many branches", target)
    run = bench.opened()
    form = with_float_means(run, bench.form)
    means = form.means
    found = sites(form.model, form.plan)
    assert any(site.writers for site in found)
    rng = np.random.default_rng(0)
    channels = {v.name: v.shape[1] for node in form.model.graph for v in node.outputs}
    factors = {site: rng.uniform(0.2, 1.0, channels[site.tensors[0]]) for site in found}
    model = equalized(form.model, factors)
    plan = make_plan(model, form.plan.target, form.plan.scheme)
    measured = with_float_means(run, Form(model, plan)).means
    scaled = scaled_means(form.plan, means, {site: (Evened(f, 1.0, 2.0), ()) for site, f in factors.items()})
    assert scaled.keys() == measured.keys()
    assert any(not np.array_equal(scaled[name], means[name]) for name in means)
    for name, mean in measured.items():
        np.testing.assert_allclose(scaled[name], mean, rtol=1e-4, atol=1e-5)


def test_what_one_worker_has_corrected_is_not_divided_among_several(tmp_path, monkeypatch):
    monkeypatch.setattr(correction, "LEAST_STAGE_WORK", 1)
    bench = Bench(tmp_path, "many branches")
    run = bench.opened()
    form = with_float_means(run, bench.form)
    with Journal(tmp_path / "journal") as journal:
        alone = corrected(replace(run, journal=journal), form)
        crowd = replace(run, executor=Crowd(bench.worker.settings), journal=journal, tally=Tally())
        assert numbers(corrected(crowd, form)) == numbers(alone)
        assert crowd.tally.ran == 0
