import itertools
from dataclasses import replace

import numpy as np
import pytest
from networks import SETTINGS, run_literally
from replica_helpers import Bench, numbers_of

from distq.graph.rows import with_threshold
from distq.graph.state import bias_constants, encoding_constants
from distq.replica.cuts import Advance
from distq.replica.session import Session
from distq.replica.worker import Blob, Worker, WorkerSettings
from distq.stages.cutter import Cutter
from distq.stages.fused import fused


def fetch(blob):
    return blob.handle


def advance(bench, cut, numbers=None, shares=None, again=()):
    numbers, again = numbers_of(numbers), frozenset(again)
    return Advance(bench.blob, bench.data, numbers, tuple(cut), shares or {}, again=again)


def bring(bench, worker, cut, numbers=None, again=()):
    return advance(bench, cut, numbers, again=again).crossing(worker, bench.indices)[0]


def straight(bench, cut, numbers=None):
    """What crosses a cut, from the inputs, on a worker that knows nothing."""
    return bring(bench, Worker(SETTINGS, fetch), cut, numbers)


def assert_same(found, wanted):
    for one, other in zip(found, wanted, strict=True):
        assert one.keys() == other.keys()
        for name, array in other.items():
            np.testing.assert_array_equal(one[name], array)


def changed(bench, quantizer, factor):
    """The constants of a quantizer, and of the biases that follow it, with another threshold."""
    row = bench.table[quantizer.name]
    other = with_threshold(bench.plan, quantizer, row, row.threshold * factor, "test").encoding
    state = bench.state.with_encoding(quantizer.name, other)
    found = encoding_constants(quantizer.name, other, bench.names)
    for layer in bench.plan.layers:
        if layer.inputs[0] in quantizer.tensors:
            found |= bias_constants(bench.plan, state, bench.names, layer)
    return found


@pytest.fixture
def bench(tmp_path):
    return Bench(tmp_path, "many branches", samples=2)


def test_what_crosses_a_cut_is_what_the_whole_network_computes_there(bench):
    whole = bench.network.extract(bench.network.inputs, list(bench.network.producer), {})
    values = run_literally(whole, bench.feeds[1])
    for quantizer in bench.plan.quantizers:
        for name, array in straight(bench, bench.cut(quantizer))[1].items():
            np.testing.assert_array_equal(array, values.get(name, bench.feeds[1].get(name)))


def of_later_cuts(bench, position):
    """Tensors that cross a cut before a quantizer behind this position."""
    return {name for quantizer in bench.plan.quantizers[position + 1 :] for name in bench.cut(quantizer)}


@pytest.mark.parametrize("order", [1, -1])
@pytest.mark.parametrize("cache_bytes", [1 << 30, 4 << 20, 1])
@pytest.mark.parametrize("remembering", [False, True])
def test_from_earlier_cuts_it_is_the_same_as_from_the_inputs(bench, order, cache_bytes, remembering):
    worker = Worker(WorkerSettings(cache_bytes=cache_bytes), fetch)
    for position, quantizer in list(enumerate(bench.plan.quantizers))[::order]:
        cut = bench.cut(quantizer)
        again = of_later_cuts(bench, position) if remembering else ()
        assert_same(bring(bench, worker, cut, again=again), straight(bench, cut))


@pytest.mark.parametrize("remembering", [False, True])
def test_numbers_that_change_before_the_last_cut_are_noticed(bench, remembering):
    worker = Worker(SETTINGS, fetch)
    numbers = {}
    for position, (earlier, later) in enumerate(itertools.pairwise(bench.plan.quantizers)):
        again = of_later_cuts(bench, position) if remembering else ()
        bring(bench, worker, bench.cut(later), numbers, again)
        numbers = {**numbers, **changed(bench, earlier, 0.7)}
        for cut in (bench.cut(later), bench.network.outputs):
            assert_same(bring(bench, worker, cut, numbers, again), straight(bench, cut, numbers))


def test_what_branches_share_runs_once(bench):
    run = bench.opened()
    cutter = Cutter(run, bench.form, fused(run, bench.form), bench.float_model)
    advances = [cutter.before(quantizer, bench.state) for quantizer in bench.plan.quantizers]
    needed = {node for advance in advances for node in bench.network.before(advance.cut)}
    once = advances[0].share(bench.network, needed) * len(bench.indices)

    def work(advances):
        worker = Worker(SETTINGS, fetch)
        return sum(advance.crossing(worker, bench.indices)[1] for advance in advances)

    assert work(advances) == pytest.approx(once)
    assert work(replace(advance, again=frozenset()) for advance in advances) > 1.01 * once


def test_a_changed_number_changes_what_crosses_behind_it_alone(bench):
    quantizer = bench.plan.by_tensor["low"]
    numbers = changed(bench, quantizer, 0.5)
    before, behind = bench.cut(quantizer), bench.network.outputs
    assert_same(straight(bench, before, numbers), straight(bench, before))
    moved = zip(straight(bench, behind, numbers), straight(bench, behind), strict=True)
    assert all(not np.array_equal(one["boxes"], other["boxes"]) for one, other in moved)


def test_a_network_with_other_numbers_is_the_network_exported_with_them(bench):
    state, numbers = bench.state, {}
    for quantizer in bench.plan.quantizers:
        row = bench.table[quantizer.name]
        other = with_threshold(bench.plan, quantizer, row, row.threshold * 0.8, "test")
        state = state.with_encoding(quantizer.name, other.encoding)
    for quantizer in bench.plan.quantizers:
        numbers |= encoding_constants(quantizer.name, state.encodings[quantizer.name], bench.names)
    for layer in bench.plan.layers:
        numbers |= bias_constants(bench.plan, state, bench.names, layer)
    exported = bench.quantized.export(state)
    found = straight(bench, bench.network.outputs, numbers)
    session = Session(exported, SETTINGS, fused=True)
    wanted = [dict(zip(session.outputs, session.run(feeds), strict=True)) for feeds in bench.feeds]
    assert_same(found, wanted)


def test_integer_weights_can_be_replaced_too(bench):
    name = f"{bench.names.weight(bench.plan.layers[0].name)}_quantized"
    weight = bench.state.weights[bench.plan.layers[0].name].integers
    other = np.ascontiguousarray(weight[::-1])
    shared = {name: Blob("of the reversed weights", other.tobytes())}
    advanced = Advance(bench.blob, bench.data, numbers_of({}, shared), tuple(bench.network.outputs))
    found = advanced.crossing(Worker(SETTINGS, fetch), bench.indices)[0]
    assert_same(found, straight(bench, bench.network.outputs, {name: other}))
    assert not np.array_equal(found[0]["boxes"], straight(bench, bench.network.outputs)[0]["boxes"])


def test_work_is_counted_by_what_ran(bench):
    shares = {node.name: 1.0 for node in bench.network.nodes}
    worker = Worker(SETTINGS, fetch)
    middle, end = bench.cut(bench.plan.by_tensor["low"]), bench.network.outputs
    first, again, rest = (
        advance(bench, cut, shares=shares).crossing(worker, bench.indices)[1] for cut in (middle, middle, end)
    )
    before = len(bench.network.before(middle))
    assert first == 2 * before > 0
    assert again == 0
    assert rest == 2 * len(bench.network.before(end, available={*middle, "x"}))
