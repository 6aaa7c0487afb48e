"""HardSwish on integers with ``--target ort``, and where it stays as it is."""

from __future__ import annotations

import onnx
import pytest
from networks import SETTINGS, Builder, Quantized, feeds_of, sqnr
from zoo import between

from distq.graph.qdq import export
from distq.replica.session import Session
from distq.stages.kernels import float_layers, integer_kernels


def operators(quantized: Quantized) -> list[str]:
    return sorted(integer_kernels(quantized.exported).values())


def written(quantized: Quantized) -> set[str]:
    return {node.op_type for node in onnx.load_model_from_string(quantized.exported).graph.node}


@pytest.mark.parametrize("scheme", ["auto", "symmetric"])
def test_it_runs_on_integer_kernels_alone(load, scheme):
    quantized = Quantized(load(between("HardSwish", opset=14)), scheme=scheme)
    ran = operators(quantized)
    assert ran.count("QLinearAdd") == ran.count("QLinearMul") == 1
    assert not {"HardSigmoid", "HardSwish", "Add", "Mul"} & {*ran}
    assert not list(float_layers(quantized.loaded.model, quantized.plan, quantized.exported))
    assert quantized.sqnr() > 30


def test_it_computes_what_hardswish_does_of_the_same_integers(load):
    """Beyond -3 and 3 as well: against the network that keeps HardSwish between the same quantizers."""
    quantized = Quantized(load(between("HardSwish", opset=14)))
    target = quantized.plan.target
    kept = type(target)(**{**vars(target), "kernels": target.kernels - {"HardSwish"}})
    plan = type(quantized.plan)(**{**vars(quantized.plan), "target": kept})
    whole = export(quantized.loaded.model, plan, quantized.state)
    assert "HardSwish" in {node.op_type for node in onnx.load_model_from_string(whole).graph.node}
    feeds = [{"x": 6 * feeds_of(onnx.load_model_from_string(whole), seed)["x"]} for seed in range(8)]
    found, wanted = (
        [output for feed in feeds for output in Session(model, SETTINGS).run(feed)]
        for model in (quantized.exported, whole)
    )
    assert sqnr(found, wanted) > 40


@pytest.mark.parametrize("target", ["openvino", "tensorrt"])
def test_other_targets_keep_it(load, target):
    quantized = Quantized(load(between("HardSwish", opset=14)), target)
    assert "HardSwish" in written(quantized)


@pytest.mark.parametrize("options", [{"int16": ["a"]}, {"int16": ["h"]}])
def test_beside_16_bits_it_stays(load, options):
    quantized = Quantized(load(between("HardSwish", opset=14)), **options)
    assert "HardSwish" in written(quantized)


def test_where_float_reads_it_it_stays_float(load):
    b = Builder()
    b.node("HardSwish", b.conv("x", (4, 4), output="a"), output="h")
    b.node("Exp", "h", output="e")
    b.conv("e", (4, 4), output="y")
    quantized = Quantized(load(b.model({"x": [1, 4, 8, 8]}, ["y"], opset=14)))
    reasons = dict(quantized.plan.float_nodes)
    assert reasons["h"] == "HardSwish is read in float"
    assert "HardSwish" in written(quantized)


def test_it_is_kept_float_where_the_user_says_so(load):
    quantized = Quantized(load(between("HardSwish", opset=14)))
    plan = quantized.plan
    assert not dict(plan.float_nodes)
    kept = type(plan)(**{**vars(plan), "float_nodes": (("h", "kept in float by --float-layers h"),)})
    made = onnx.load_model_from_string(export(quantized.loaded.model, kept, quantized.state))
    assert "HardSwish" in {node.op_type for node in made.graph.node}
