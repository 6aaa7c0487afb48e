"""The unit that measures a network with a part of it in float."""

from dataclasses import replace

import numpy as np
import pytest
from networks import SETTINGS
from replica_helpers import Bench

from distq.graph.qdq import export
from distq.graph.variants import FloatPart
from distq.replica.session import Session
from distq.replica.variants import VariantErrors, VariantSteps
from distq.replica.worker import Blob
from distq.search.metrics import compare


@pytest.fixture
def bench(tmp_path):
    return Bench(tmp_path, "many branches", "openvino")


def unit_of(bench, part):
    plan = replace(bench.plan, dropped=frozenset())
    exported = bench.executor.share(export(bench.loaded.model, plan, bench.state))
    return VariantErrors(exported, bench.float_model, part, bench.float_model, bench.data, bench.indices)


def test_with_nothing_in_float_it_is_the_error_of_the_exported_network(bench):
    found = bench.run(unit_of(bench, FloatPart()))
    exact = Session(bench.loaded.serialized(), SETTINGS, float_network=True)
    model = Session(bench.quantized.exported, SETTINGS, fused=True)
    for i, feeds in enumerate(bench.feeds):
        wanted = compare(model.run(feeds), exact.run(feeds))
        np.testing.assert_array_equal(found["error"][i], wanted.error[0])
        np.testing.assert_array_equal(found["power"][i], wanted.power[0])


def test_with_everything_in_float_there_is_hardly_an_error(bench):
    integers = tuple(bench.names.quantized(t) for t in bench.plan.by_tensor)
    found = bench.run(unit_of(bench, FloatPart(integers, bench.plan.layers)))
    assert (found["error"] < 1e-8 * found["power"]).all()


def test_another_bias_moves_the_output_by_as_much(bench):
    layer = next(layer for layer in bench.plan.layers if layer.name == "boxes")
    bias = bench.state.biases["boxes"]
    integers = (bench.names.quantized(layer.inputs[0]),)
    errors = [
        bench.run(unit_of(bench, FloatPart(integers, biases={layer.node: bias + add})))["error"][:, 0]
        for add in (0.0, 100.0)
    ]
    elements = 3 * 8 * 8
    np.testing.assert_allclose(errors[1], elements * 100.0**2, rtol=0.01)
    assert (errors[0] < errors[1] / 1000).all()


def test_a_step_is_what_two_variants_differ_by(bench):
    integers = tuple(bench.names.quantized(t) for t in bench.plan.by_tensor)
    every, none = FloatPart(integers, bench.plan.layers), FloatPart()
    unit = unit_of(bench, none)
    steps = VariantSteps(unit.exported, unit.original, (every, none, none), unit.data, unit.indices)
    found, whole, images = bench.run(steps), bench.run(unit), len(bench.feeds)
    np.testing.assert_allclose(found["error"][:images], whole["error"], rtol=1e-3)
    assert not found["error"][images:].any()


def test_the_key_of_steps_depends_on_everything(bench):
    part, other = FloatPart(("a_quantized",)), Blob("b" * 64, b"")
    unit = unit_of(bench, part)
    steps = VariantSteps(unit.exported, unit.original, (part, FloatPart()), unit.data, unit.indices)
    changed = [
        replace(steps, exported=other),
        replace(steps, original=other),
        replace(steps, parts=(FloatPart(), part)),
        replace(steps, indices=(0,)),
    ]
    assert len({steps.key, *(one.key for one in changed)}) == 5


def test_the_key_depends_on_everything(bench):
    layer = bench.plan.layers[0]
    part = FloatPart(("a_quantized",), (layer,), biases={layer.node: np.zeros(2)})
    unit = unit_of(bench, part)
    other = Blob("b" * 64, b"")
    changed = [
        replace(unit, exported=other),
        replace(unit, original=other),
        replace(unit, float_model=other),
        replace(unit, indices=(0,)),
        *(
            replace(unit, part=replace(part, **change))
            for change in (
                {"integers": ()},
                {"layers": ()},
                {"float_inputs": False},
                {"biases": {layer.node: np.ones(2)}},
                {"biases": {}},
            )
        ),
    ]
    keys = {unit.key, *(u.key for u in changed)}
    assert len(keys) == len(changed) + 1
    assert unit_of(bench, part).key == unit.key
