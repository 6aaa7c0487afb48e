"""Every operator, exported for every target and scheme, checked and run in ONNX Runtime."""

import tempfile
from functools import cache
from pathlib import Path

import networks
import onnx
import pytest
from networks import Quantized, run_literally
from zoo import NETWORKS

from distq.stages.kernels import float_layers, integer_kernels
from distq.targets.ort import ORT

every_network = pytest.mark.parametrize("name", NETWORKS)
every_scheme = pytest.mark.parametrize("scheme", ["auto", "symmetric"])
every_target = pytest.mark.parametrize("target", ["ort", "openvino"])


@cache
def loaded(name):
    with tempfile.TemporaryDirectory() as folder:
        return networks.load(Path(folder), NETWORKS[name]())


@cache
def quantized(name, target="ort", scheme="auto", int16=(), batch=1):
    return Quantized(loaded(name), target, scheme, samples=2, batch=batch, int16=int16)


@cache
def kernels(name, scheme="auto", int16=()):
    return integer_kernels(quantized(name, "ort", scheme, int16).exported)


@every_target
@every_scheme
@every_network
def test_the_exported_model_is_valid_and_close_to_float(name, target, scheme):
    found = quantized(name, target, scheme)
    onnx.checker.check_model(onnx.load_model_from_string(found.exported), full_check=True)
    assert found.sqnr() > 25  # 8 bits with ranges by min and max give 30 to 50 dB here


@every_target
@every_network
def test_inputs_and_outputs_keep_names_types_and_shapes(name, target):
    graph = onnx.load_model_from_string(quantized(name, target).exported).graph
    given = NETWORKS[name]().graph
    assert [(v.name, v.type) for v in graph.input] == [(v.name, v.type) for v in given.input]
    assert [(v.name, v.type) for v in graph.output] == [(v.name, v.type) for v in given.output]


@every_network
def test_the_opset_stays_with_8_bits_and_is_21_with_16(name):
    narrow = quantized(name)
    wide = quantized(name, int16=(narrow.plan.quantizers[0].name,))
    assert _opset(narrow.exported) == _opset(NETWORKS[name]().SerializeToString())
    assert _opset(wide.exported) == 21
    assert wide.sqnr() > 25


def _opset(model):
    return next(o.version for o in onnx.load_model_from_string(model).opset_import if not o.domain)


@every_scheme
@every_network
def test_with_target_ort_every_layer_but_a_conv_transpose_is_an_integer_kernel(name, scheme):
    for layer in quantized(name, "ort", scheme).plan.layers:
        wanted = {"ConvTranspose"} if layer.op == "ConvTranspose" else ORT.fused_kernels
        assert kernels(name, scheme)[layer.node] in wanted, layer.name


@every_scheme
@every_network
def test_what_runs_in_float_is_listed_once_with_a_reason(name, scheme):
    found = quantized(name, "ort", scheme)
    listed = [
        layer.name for layer in float_layers(found.loaded.model, found.plan, found.exported) if layer.reason
    ]
    assert len(set(listed)) == len(listed)
    names = {n.name: n.outputs[0].name for n in found.loaded.model.graph}
    names |= {layer.node: layer.name for layer in found.plan.layers}
    floats = {"ConvTranspose", "Exp", "PRelu", "HardSwish"}  # no integer kernels in ONNX Runtime
    for node, kernel in kernels(name, scheme).items():
        assert kernel not in floats or names[node] in listed, node


@every_network
def test_a_layer_that_touches_16_bits_is_listed_as_float(name):
    wide = (quantized(name).plan.quantizers[0].name,)
    found = quantized(name, int16=wide)
    listed = {
        layer.name: layer.reason for layer in float_layers(found.loaded.model, found.plan, found.exported)
    }
    bits = {tensor: quantizer.bits for tensor, quantizer in found.plan.by_tensor.items()}
    assert set(bits.values()) == {8, 16}
    for layer in found.plan.layers:
        integer = kernels(name, int16=wide).get(layer.node) in ORT.fused_kernels
        assert integer == (layer.name not in listed), layer.name
        if 16 in {bits.get(tensor) for tensor in (*layer.inputs, layer.name)}:
            assert not integer
            assert layer.op == "ConvTranspose" or "16 bit" in listed[layer.name]


@pytest.mark.parametrize("name", ["Softmax behind", "symbolic batch"])
def test_a_symbolic_batch_is_run_at_any_size(name):
    found = quantized(name, batch=3)
    images = found.feeds[0]["x"]
    together = run_literally(found.exported, {"x": images})["y"]
    for i, row in enumerate(together):
        alone = run_literally(found.exported, {"x": images[i : i + 1]})["y"]
        assert alone.shape == (1, 5)
        assert abs(alone[0] - row).max() < 1e-5 * abs(together).max()


@pytest.mark.parametrize("scheme", ["auto", "symmetric"])
def test_16_bits_work_with_openvino_too(scheme):
    last = quantized("many branches", "openvino", scheme).plan.quantizers[-1].name
    wide = quantized("many branches", "openvino", scheme, (last,))
    assert _opset(wide.exported) == 21
    assert wide.sqnr() > 25
