from dataclasses import replace

import numpy as np
import pytest
from replica_helpers import Bench

from distq.engine.journal import Journal
from distq.engine.local import LocalExecutor
from distq.graph.equalize import equalized, sites
from distq.graph.plan import make_plan
from distq.jobs import correct as correction
from distq.jobs.correct import correct, correct_together, cut_into, float_means
from distq.jobs.equalize import scaled_means
from distq.quant.channel_factors import Evened


class Crowd(LocalExecutor):
    """Says it has more workers than any job has forms."""

    workers = 8


def numbers(state):
    weights = {name: weight.integers.tobytes() for name, weight in state.weights.items()}
    return weights, {name: bias.tobytes() for name, bias in state.biases.items()}


@pytest.mark.parametrize("name", ["many branches", "SiLU", "detector"])
def test_one_worker_alone_and_many_with_the_images_dealt_out_correct_to_the_same_bits(
    tmp_path, name, monkeypatch
):
    monkeypatch.setattr(correction, "LEAST_MEASURED", 1)
    bench = Bench(tmp_path, name)
    job = bench.job()
    wanted = float_means(job)
    with Journal(tmp_path / "journal") as journal:
        crowd = replace(job, executor=Crowd(bench.worker.settings), journal=journal)
        dealt = correct(crowd, bench.state, wanted)
        assert crowd.tally.ran > 2 * len(wanted)
    alone = correct(job, bench.state, wanted)
    assert numbers(dealt) == numbers(alone)
    assert numbers(alone) != numbers(bench.state)


def test_forms_corrected_together_are_those_corrected_one_by_one(tmp_path):
    bench = Bench(tmp_path, "many branches")
    job = bench.job()
    wanted = float_means(job)
    name, encoding = next(iter(bench.state.encodings.items()))
    other = bench.state.with_encoding(name, replace(encoding, scale=encoding.scale / 2))
    states = [bench.state, other]
    together = correct_together([(job, state, wanted) for state in states])
    assert [numbers(s) for s in together] == [numbers(correct(job, s, wanted)) for s in states]


def test_a_layer_in_front_of_a_sigmoid_stays_as_it_is_unless_it_lies_behind_what_changed(tmp_path):
    bench = Bench(tmp_path, "detector")
    job = bench.job()
    wanted = float_means(job)
    corrected = correct(job, bench.state, wanted)
    encoding = corrected.encodings["r"]
    changed = corrected.with_encoding("r", replace(encoding, scale=encoding.scale * 0.8))
    found = correct(job, changed, wanted, ["r"])
    moved = {name for name in found.biases if not np.array_equal(found.biases[name], corrected.biases[name])}
    assert moved
    assert all("coarse" in name for name in moved)


@pytest.mark.parametrize("position", range(6))
def test_correcting_what_lies_behind_a_changed_threshold_is_correcting_everything(tmp_path, position):
    bench = Bench(tmp_path, "many branches")
    job = bench.job()
    wanted = float_means(job)
    corrected = correct(job, bench.state, wanted)
    name = list(corrected.encodings)[position]
    encoding = corrected.encodings[name]
    changed = corrected.with_encoding(name, replace(encoding, scale=encoding.scale * 0.8))
    assert numbers(correct(job, changed, wanted, [name])) == numbers(correct(job, changed, wanted))


@pytest.mark.parametrize(
    ("channels", "kernel", "blocks"),
    [(128, 9, 1), (256, 9, 2), (512, 9, 4), (4096, 1, 4), (1200, 1, 2), (1201, 1, 1201), (3, 2401, 3)],
)
def test_many_inputs_are_cut_into_the_fewest_equal_blocks_of_channels(channels, kernel, blocks):
    assert cut_into(channels, kernel) == blocks


@pytest.mark.parametrize("target", ["ort", "openvino"])
def test_means_of_a_network_with_its_channels_scaled_follow_from_those_it_had(tmp_path, target):
    bench = Bench(tmp_path, "many branches", target)
    job = bench.job()
    means = float_means(job)
    found = sites(job.loaded.model, job.plan)
    assert any(site.writers for site in found)
    rng = np.random.default_rng(0)
    channels = {v.name: v.shape[1] for node in job.loaded.model.graph for v in node.outputs}
    factors = {site: rng.uniform(0.2, 1.0, channels[site.tensors[0]]) for site in found}
    model = equalized(job.loaded.model, factors)
    plan = make_plan(model, job.plan.target, job.plan.scheme)
    other = replace(job, loaded=replace(job.loaded, model=model), plan=plan, means=None)
    measured = float_means(other)
    scaled = scaled_means(job, means, {site: (Evened(f, 1.0, 2.0), ()) for site, f in factors.items()})
    assert scaled.keys() == measured.keys()
    assert any(not np.array_equal(scaled[name], means[name]) for name in means)
    for name, mean in measured.items():
        np.testing.assert_allclose(scaled[name], mean, rtol=1e-4, atol=1e-5)
