from dataclasses import replace

import numpy as np
import pytest
from networks import SETTINGS, Builder
from replica_helpers import Bench

from distq.graph.heads import squashed, with_places
from distq.graph.qdq import export
from distq.replica.session import Session
from distq.stages.squashed import restore_squashed
from distq.stages.steps import run_side_by_side


def means_behind(bench, data):
    """Mean of each channel behind the Sigmoids, of all samples."""
    places = [place for _, place in squashed(bench.loaded.model, bench.plan)]
    session = Session(with_places(data, places), SETTINGS, fused=True)
    found = [session.run(feeds) for feeds in bench.feeds]
    return np.concatenate(
        [np.mean(1 / (1 + np.exp(-np.array(v))), axis=(0, 1, 3, 4)) for v in zip(*found, strict=True)]
    )


def restored_means(bench, state):
    run, form = bench.opened(), replace(bench.form, state=state)
    return run_side_by_side(run, [restore_squashed(run, form, state.biases, bench.indices)])[0].state


@pytest.mark.parametrize("target", ["ort", "openvino", "tensorrt"])
def test_a_clipped_detector_sees_as_much_as_in_float(tmp_path, target):
    bench = Bench(tmp_path, "detector", target)
    model, plan = bench.loaded.model, bench.plan
    clipped = {
        name: replace(encoding, scale=np.float32(encoding.scale / 4))
        if name in {"fine", "coarse"}
        else encoding
        for name, encoding in bench.state.encodings.items()
    }
    state = replace(bench.state, encodings=clipped)
    restored = restored_means(bench, state)
    exact = means_behind(bench, bench.loaded.serialized())
    before, after = (means_behind(bench, export(model, plan, s)) for s in (state, restored))
    assert np.abs(after / exact - 1).max() < 0.02
    assert np.abs(after / exact - 1).max() < 0.2 * np.abs(before / exact - 1).max()
    assert {n for n in state.biases if not np.array_equal(state.biases[n], restored.biases[n])} == {
        layer.name for layer, _ in squashed(model, plan)
    }


def test_a_network_without_a_sigmoid_behind_keeps_its_biases(tmp_path):
    bench = Bench(tmp_path, "four outputs")
    assert restored_means(bench, bench.state) is bench.state


@pytest.mark.parametrize("shape", [[1, 5, 8], [1, 2, 5, 8]])
def test_a_linear_layer_in_front_of_a_sigmoid_gets_one_shift_a_column(tmp_path, shape):
    b = Builder(1)
    hidden = b.node("Relu", b.node("MatMul", "x", b.random(8, 8)))
    b.node("Sigmoid", b.node("MatMul", hidden, b.random(8, 3), output="scores"), output="y")
    bench = Bench(tmp_path, b.model({"x": shape}, ["y"]))
    restored = restored_means(bench, bench.state)
    assert [layer.name for layer, _ in squashed(bench.loaded.model, bench.plan)] == ["scores"]
    assert restored.biases["scores"].shape == (3,)
    assert np.abs(restored.biases["scores"] - bench.state.biases["scores"]).max() < 0.5
