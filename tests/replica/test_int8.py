import numpy as np
import pytest
from networks import SETTINGS
from replica_helpers import Bench, numbers_of

from distq.graph.state import quantizer_constants
from distq.replica.cuts import Advance
from distq.replica.int8 import Errors, Score
from distq.replica.session import Session
from distq.search.metrics import compare


@pytest.fixture
def bench(tmp_path):
    return Bench(tmp_path, "four outputs")


def exported_errors(bench):
    exact = Session(bench.loaded.serialized(), SETTINGS, float_network=True)
    model = Session(bench.quantized.exported, SETTINGS, fused=True)
    return np.concatenate([compare(model.run(f), exact.run(f)).error for f in bench.feeds])


def score(bench, tensor, indices=None):
    quantizer = bench.plan.by_tensor[tensor]
    own = quantizer_constants(bench.plan, bench.state, bench.names, quantizer.name)
    tensors = tuple(bench.names.quantized(t) for t in quantizer.tensors)
    advance = Advance(bench.blob, bench.data, numbers_of({}), bench.cut(quantizer))
    return Score(advance, tensors, (own, own), bench.float_model, indices or bench.indices)


def test_errors_are_those_of_the_exported_model(bench):
    advance = Advance(bench.blob, bench.data, numbers_of({}), tuple(bench.network.outputs))
    found = bench.run(Errors(advance, bench.float_model, bench.indices))["error"]
    np.testing.assert_array_equal(found, exported_errors(bench))


@pytest.mark.parametrize(
    ("tensor", "reached"), [("x", [0, 1, 2, 3]), ("a", [0, 1, 2, 3]), ("c", [1, 2]), ("d", [3])]
)
def test_a_candidate_has_the_error_of_the_outputs_it_reaches_and_none_elsewhere(bench, tensor, reached):
    found = bench.run(score(bench, tensor))["error"]
    wanted = exported_errors(bench)
    wanted[:, [o for o in range(4) if o not in reached]] = 0
    assert found.shape == (2, 3, 4)
    for candidate in found:
        np.testing.assert_array_equal(candidate, wanted)


def test_the_order_and_number_of_images_in_a_unit_do_not_matter(bench):
    whole = bench.run(score(bench, "x"))["error"]
    pieces = [bench.run(score(bench, "x", (i,)))["error"] for i in (2, 0, 1)]
    np.testing.assert_array_equal(np.concatenate([pieces[1], pieces[2], pieces[0]], axis=1), whole)
