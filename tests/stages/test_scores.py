"""What a search scores on the cut, fused network is exactly what the exported model gives."""

import numpy as np
import pytest
from networks import Builder
from replica_helpers import Bench
from score_checks import FACTORS, NAMES, assert_scores_are_those_of_the_exported_model, exported_errors

from distq.search.metrics import per_image_diff
from distq.stages.scoring import NetworkScorer, PrefixScorer, float_power


@pytest.mark.parametrize("name", NAMES)
def test_a_score_is_the_exported_models_error_to_the_last_bit(tmp_path, name):
    assert_scores_are_those_of_the_exported_model(Bench(tmp_path, name, samples=2))


@pytest.mark.parametrize("name", ["four outputs", "Concat of alike", "MatMul of two tensors"])
def test_it_is_so_too_with_symmetric_ranges(tmp_path, name):
    assert_scores_are_those_of_the_exported_model(Bench(tmp_path, name, scheme="symmetric", samples=2))


@pytest.mark.parametrize("order", ["scalar first", "scalar last", "two tensors"])
def test_it_is_so_too_where_the_runtime_makes_tables_of_scales(tmp_path, order):
    b = Builder(1)
    a = b.conv("x", (4, 4))
    condition = b.node("Greater", a, b.constant(np.float32(0.2)))
    other = b.conv("x", (4, 4)) if order == "two tensors" else b.constant(np.float32(-0.5))
    pair = (other, a) if order == "scalar first" else (a, other)
    b.conv(b.node("Where", condition, *pair), (4, 3), output="y")
    bench = Bench(tmp_path, b.model({"x": [1, 4, 6, 6]}, ["y"]), samples=2)
    assert "QLinearWhere" in {node.op_type for node in bench.network.nodes}
    assert_scores_are_those_of_the_exported_model(bench)


@pytest.mark.parametrize("cache_bytes", [1, 20_000])
@pytest.mark.parametrize("name", ["four outputs", "Concat of unlike"])
def test_it_is_so_too_where_the_cache_forgets(tmp_path, name, cache_bytes):
    assert_scores_are_those_of_the_exported_model(Bench(tmp_path, name, cache_bytes=cache_bytes))


def test_images_scored_in_two_steps_score_as_at_once(tmp_path):
    bench = Bench(tmp_path, "many branches", samples=5)
    scorer = NetworkScorer(bench.opened(), bench.form)
    quantizer = bench.plan.by_tensor["excited"]
    thresholds = [bench.table[quantizer.name].threshold * f for f in FACTORS]
    scorer.score(quantizer, thresholds, bench.form, 2)
    more = scorer.score(quantizer, thresholds, bench.form)
    scorer.decide(bench.table[quantizer.name].threshold)
    once = scorer.score(quantizer, thresholds, bench.form)
    for threshold in thresholds:
        np.testing.assert_array_equal(more[threshold], once[threshold])


def test_the_threshold_a_tensor_has_scores_as_the_model_as_it_is(tmp_path):
    bench = Bench(tmp_path, "four outputs")
    run = bench.opened()
    scorer = NetworkScorer(run, bench.form)
    wanted = per_image_diff(exported_errors(bench, bench.form), float_power(run, run.float_model)[0])
    for quantizer in bench.plan.quantizers:
        own = bench.table[quantizer.name].threshold
        np.testing.assert_array_equal(scorer.score(quantizer, [own], bench.form)[own], wanted)
        scorer.decide(own)


def test_thresholds_beyond_what_a_tensor_holds_run_once(tmp_path):
    bench = Bench(tmp_path, "Clip(0, 6)")
    run = bench.opened()
    scorer = PrefixScorer(run, bench.form, bench.plan.quantizers)
    quantizer = bench.plan.by_tensor["h"]
    before = run.cost_so_far.int8_forwards
    first = scorer.score(quantizer, [6.0, 7.0, 8.0], bench.form)
    once = run.cost_so_far.int8_forwards - before
    np.testing.assert_array_equal(first[7.0], first[6.0])
    scorer.score(quantizer, [9.0, 10.0], bench.form)
    assert run.cost_so_far.int8_forwards - before == once
    other = scorer.score(quantizer, [3.0], bench.form)[3.0]
    assert run.cost_so_far.int8_forwards - before > once
    assert not np.array_equal(other, first[6.0])
