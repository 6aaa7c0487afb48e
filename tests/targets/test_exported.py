"""What each target says holds in the networks that are exported for it."""

from __future__ import annotations

import itertools

import networks
import pytest
from exported_facts import Exported, assert_holds
from networks import Quantized
from zoo import NETWORKS

from distq.targets import TARGETS
from distq.targets.operators import CONNECTING, LAYERS
from distq.targets.target import Target

SOME = ["Relu", "Clip(0, 6)", "SiLU", "Gemm", "MatMul of a matrix", "MatMul of two tensors"]
SOME += ["ConvTranspose", "Concat of unlike", "many branches"]


@pytest.mark.parametrize("scheme", ["auto", "symmetric"])
@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("name", SOME)
def test_facts_of_a_target_hold(tmp_path, name, target, scheme):
    quantized = Quantized(networks.load(tmp_path, NETWORKS[name]()), target, scheme)
    assert_holds(quantized.exported, TARGETS[target], scheme)


@pytest.mark.parametrize("name", ["many branches", "Gemm, transposed", "ConvTranspose"])
@pytest.mark.parametrize(
    ("placement", "bias", "channels"),
    [*itertools.product(["everywhere", "layer inputs"], ["int32", "float32"], [False, True])],
)
def test_facts_hold_in_any_combination(tmp_path, add, name, placement, bias, channels):  # noqa: PLR0917  # pytest passes them by name
    loaded = networks.load(tmp_path, NETWORKS[name]())
    for signed, scheme in itertools.product([False, True], ["auto", "symmetric"]):
        own = Target("npu", placement, bias=bias, signed=signed, per_channel_weights=channels)
        quantized = Quantized(loaded, add(own), scheme)
        assert_holds(quantized.exported, own, scheme)
        assert quantized.sqnr() > 25


@pytest.mark.parametrize("name", ["Relu", "Clip(0, 6)", "Add"])
def test_saturation_that_is_not_absorbed_stays_between_a_layer_and_its_quantizer(tmp_path, add, name):
    quantized = Quantized(networks.load(tmp_path, NETWORKS[name]()), add(Target("npu", "everywhere")))
    assert not quantized.plan.dropped
    exported = Exported(quantized.exported)
    (node,) = (node for node in exported.graph.node if node.op_type in {"Relu", "Clip"})
    assert exported.writer[node.input[0]].op_type in {"Conv", "Add"}
    assert [reader.op_type for reader in exported.readers(node.output[0])] == ["QuantizeLinear"]
    assert quantized.sqnr() > 25


@pytest.mark.parametrize("missing", ["Gemm", "Conv"])
def test_a_layer_that_int8_does_not_carry_stays_float_and_says_so(tmp_path, add, missing):
    own = Target("npu", "everywhere", layers=LAYERS - {missing})
    quantized = Quantized(networks.load(tmp_path, NETWORKS["many branches"]()), add(own))
    assert missing not in {layer.op for layer in quantized.plan.layers}
    assert f"{missing} has no integer kernel" in dict(quantized.plan.float_nodes).values()
    assert quantized.sqnr() > 25


@pytest.mark.parametrize("missing", ["Add", "Concat", "Mul", "MaxPool"])
def test_an_operator_without_a_kernel_stays_float_and_says_so(tmp_path, add, missing):
    own = Target("npu", "everywhere", kernels=CONNECTING - {missing})
    quantized = Quantized(networks.load(tmp_path, NETWORKS["many branches"]()), add(own))
    assert f"{missing} has no integer form" in dict(quantized.plan.float_nodes).values()
    assert quantized.sqnr() > 25
