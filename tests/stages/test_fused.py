"""Whatever ONNX Runtime takes out of a network, every quantizer can be scored and every layer corrected."""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np
import onnx
import onnx_ir as ir
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from idle_networks import OPERATORS, network, networks_of_idle_operators
from networks import Builder
from replica_helpers import Bench
from score_checks import assert_scores_are_those_of_the_exported_model, exported_errors
from zoo import NETWORKS

from distq.graph.holders import integer_tensors
from distq.graph.names import Names
from distq.graph.passes.neutral import DropNeutral
from distq.graph.subgraph import Network
from distq.stages.correct import round_and_correct
from distq.stages.float_means import with_float_means
from distq.stages.fused import with_nearest_weights
from distq.targets import TARGETS


def assert_all_is_found(folder: Path, proto: onnx.ModelProto, target: str) -> None:
    """Scores are those of the exported model, before and after correction."""
    bench = Bench(folder, proto, target, samples=2)
    run = bench.opened()
    form = with_nearest_weights(run, bench.form)
    assert_scores_are_those_of_the_exported_model(bench, form, [0.4])
    (corrected,) = round_and_correct(run, [with_float_means(run, form)])
    assert_scores_are_those_of_the_exported_model(bench, corrected, [0.7])


@settings(max_examples=15)
@given(proto=networks_of_idle_operators, target=st.sampled_from(sorted(TARGETS)))
def test_in_random_networks(proto: onnx.ModelProto, target: str) -> None:
    with tempfile.TemporaryDirectory() as folder:
        assert_all_is_found(Path(folder), proto, target)


def products_from_the_left():
    """Constants on the left of a product of matrices, a PRelu and an Elu, beside a Gemm of the same input."""
    b = Builder(2)
    turned = b.node("PRelu", b.node("MatMul", b.random(7, 1), "x", output="first"), b.positive(4), output="p")
    b.node("MatMul", b.random(3, 7), b.node("Elu", turned, alpha=0.5, output="e"), output="y")
    b.node("MatMul", turned, b.random(4, 8), output="z")
    b.node("Gemm", "x", b.random(4, 6), b.random(6), output="w")
    return b.model({"x": [1, 4]}, ["y", "z", "w"])


def test_where_layers_read_what_an_earlier_quantizer_reads_too(tmp_path):
    assert_all_is_found(tmp_path, products_from_the_left(), "ort")


class LeaveIn(DropNeutral):
    """Loading that leaves operators in that do nothing."""

    def call(self, model: ir.Model) -> ir.passes.PassResult:
        return ir.passes.PassResult(model, modified=False)


@settings(max_examples=15)
@given(proto=networks_of_idle_operators)
def test_also_where_loading_leaves_operators_in_that_do_nothing(proto: onnx.ModelProto) -> None:
    with tempfile.TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
        patch.setattr("distq.graph.load.DropNeutral", LeaveIn)
        assert_all_is_found(Path(folder), proto, "ort")


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("name", NETWORKS)
def test_plain_networks_keep_every_name(tmp_path: Path, name: str, target: str) -> None:
    bench = Bench(tmp_path, name, target)
    held = integer_tensors(bench.network, bench.loaded.model, bench.plan, bench.names)
    assert held == {tensor: bench.names.quantized(tensor) for tensor in bench.plan.by_tensor}
    assert with_nearest_weights(bench.opened(), bench.form).plan is bench.plan


def test_quantizers_with_nothing_between_them_become_one(tmp_path: Path) -> None:
    bench = Bench(tmp_path, network(0, [["Relu", "Clip to 6"]]))
    assert len(bench.plan.quantizers) == 5
    run = bench.opened()
    form = with_nearest_weights(run, bench.form)
    assert len(form.plan.quantizers) == 4
    fused = Network(run.fuse(form.exported))
    held = integer_tensors(fused, form.model, form.plan, Names.free_in(form.model))
    assert held is not None
    kinds = [node.op_type for node in fused.nodes]
    assert kinds == ["QuantizeLinear", "QLinearConv", "QLinearConv", "QLinearConv", "DequantizeLinear"]
    error, before = (np.sum(exported_errors(bench, f)) for f in (form, bench.form))
    assert error <= 1.5 * before


@pytest.mark.parametrize("name", OPERATORS)
def test_each_operator_alone_and_twice(tmp_path: Path, name: str) -> None:
    assert_all_is_found(tmp_path, network(1, [[name], [name, name]]), "ort")


@pytest.mark.parametrize("sizes", [[1, 4, 5, 6], [1, 4, "h", "w"]])
@pytest.mark.parametrize("kernel", [2, 4])
def test_where_a_conv_transpose_became_a_conv_and_a_shuffle(tmp_path, kernel, sizes):
    b = Builder(1)
    pads, strides = [kernel // 2 - 1] * 4, [2, 2]
    a = b.conv("x", (4, 8), kernel=1, output="a")
    weight = b.random(8, 8, kernel, kernel, scale=0.2)
    t = b.node("ConvTranspose", a, weight, b.random(8), output="t", strides=strides, pads=pads)
    r = b.node("Relu", t, output="r")
    b.node("ConvTranspose", r, weight, output="y", strides=strides, pads=pads)
    assert_all_is_found(tmp_path, b.model({"x": sizes}, ["y"]), "ort")
