from dataclasses import replace

import numpy as np
import onnx
import pytest
from networks import Builder, Quantized, run_literally
from zoo import NETWORKS, branched, conv_transpose

from distq.graph.names import Names
from distq.graph.network_cost import shares
from distq.graph.probes import stages, with_means, with_outputs, with_shifts
from distq.graph.qdq import export
from distq.graph.variants import FloatPart, put_back


def test_tensors_inside_become_the_outputs_in_the_order_asked(load):
    quantized = Quantized(load(branched()))
    names = ["pooled", "stem", "scores"]
    model = onnx.load_model_from_string(with_outputs(quantized.loaded.model, names))
    assert [v.name for v in model.graph.output] == names
    wanted = run_literally(with_outputs(quantized.loaded.model, ["scores"]), quantized.feeds[0])
    np.testing.assert_array_equal(run_literally(model, quantized.feeds[0])["scores"], wanted["scores"])


def test_an_input_among_the_tensors_is_left_to_the_caller(load):
    model = onnx.load_model_from_string(with_outputs(load(branched()).model, ["x", "stem"]))
    assert [v.name for v in model.graph.output] == ["stem"]


@pytest.mark.parametrize("opset", [13, 18])
def test_means_are_over_batch_and_positions(load, opset):
    b = Builder()
    hidden = b.node("Relu", b.conv("x", (4, 6)), output="h")
    t = b.node("ConvTranspose", hidden, b.random(6, 5, 2, 2), output="t")
    b.node("Gemm", b.node("Flatten", t), b.random(5 * 81, 3), output="g")
    quantized = Quantized(load(b.model({"x": ["N", 4, 8, 8]}, ["g"], opset)), batch=2)
    layers = quantized.plan.layers
    tensors = [layer.output for layer in layers]
    values = run_literally(with_outputs(quantized.loaded.model, tensors), quantized.feeds[0])
    means = run_literally(with_means(quantized.loaded.model, layers), quantized.feeds[0])
    for tensor, mean in zip(tensors, means.values(), strict=True):
        axes = tuple(i for i in range(values[tensor].ndim) if i != 1)
        np.testing.assert_allclose(mean, values[tensor].mean(axes), rtol=1e-4, atol=1e-5)


def test_tensors_of_the_network_may_have_the_names_that_means_and_rows_would_get(load):
    b = Builder()
    hidden = b.node("Relu", b.node("MatMul", "x", b.random(6, 4), output="h"), output="h_rows")
    hidden = b.node("Relu", hidden, output="h_rows_mean")
    b.node("MatMul", hidden, b.random(4, 4), output="y")
    quantized = Quantized(load(b.model({"x": ["N", 3, 6]}, ["y"])), batch=2)
    means = run_literally(with_means(quantized.loaded.model, quantized.plan.layers), quantized.feeds[0])
    assert [mean.shape for mean in means.values()] == [(4,)] * len(quantized.plan.layers)


def test_a_stage_holds_layers_whose_inputs_depend_on_earlier_stages_alone(load):
    quantized = Quantized(load(branched()))
    found = stages(quantized.loaded.model, quantized.plan)
    assert [layer for stage in found for layer in stage] != []
    assert sorted(layer.name for stage in found for layer in stage) == sorted(
        layer.name for layer in quantized.plan.layers
    )
    model = quantized.loaded.model
    above: dict[str, set[str]] = {"x": set()}  # layers each tensor depends on
    own = {layer.node: layer.name for layer in quantized.plan.layers}
    for node in model.graph:
        found_above = set().union(*(above.get(v.name, set()) for v in node.inputs if v is not None))
        for value in node.outputs:
            above[value.name] = found_above | ({own[node.name]} if node.name in own else set())
    done: set[str] = set()
    for stage in found:
        for layer in stage:
            assert above[layer.inputs[0]] <= done
        done |= {layer.name for layer in stage}


def test_only_layers_behind_a_tensor_are_named_on_request(load):
    quantized = Quantized(load(branched()))
    model, plan = quantized.loaded.model, quantized.plan

    def behind(*tensors):
        return [layer.name for stage in stages(model, plan, tensors) for layer in stage]

    assert behind() == []
    assert behind("x") == [layer.name for stage in stages(model, plan) for layer in stage]
    assert behind("joined") == ["boxes"]
    assert behind("both", "mean") == ["t17", "t23", "boxes"]
    assert behind("low") == ["t9", "t12", "t23", "t17", "boxes"]


def test_a_product_of_two_tensors_has_no_bias_and_is_in_no_stage(load):
    quantized = Quantized(load(NETWORKS["MatMul of two tensors"]()))
    found = stages(quantized.loaded.model, quantized.plan)
    assert [[layer.name for layer in stage] for stage in found] == [["t0", "t1"]]


def test_the_share_of_a_layer_is_that_of_its_multiplications(load):
    found = shares(load(conv_transpose()).model)
    counts = {"Conv_a": 4 * 4 * 9 * 64, "ConvTranspose_t": 4 * 5 * 4 * 64, "Conv_y": 5 * 3 * 9 * 256}
    total = sum(counts.values())
    assert found == pytest.approx({name: count / total for name, count in counts.items()})
    assert shares(load(NETWORKS["Gemm"]()).model) == pytest.approx({"Gemm_g": 48 / 78, "Gemm_y": 30 / 78})


def test_with_nothing_to_observe_the_network_keeps_its_own_outputs(load):
    model = with_outputs(load(branched()).model, ["x"])
    assert [v.name for v in onnx.load_model_from_string(model).graph.output] == ["boxes", "scores"]


@pytest.mark.parametrize("opset", [13, 18])
@pytest.mark.parametrize("target", ["ort", "openvino", "tensorrt"])
def test_shifts_are_what_rounding_an_input_does_to_a_layers_mean_output(load, target, opset):
    b = Builder()
    hidden = b.node("Relu", b.conv("x", (4, 6), strides=[2, 2]), output="h")
    t = b.node("ConvTranspose", hidden, b.random(6, 5, 2, 2), output="t")
    b.node("Gemm", b.node("Flatten", t), b.random(5 * 25, 3), output="g")
    quantized = Quantized(load(b.model({"x": [1, 4, 8, 8]}, ["g"], opset)), target)
    plan = replace(quantized.plan, dropped=frozenset())
    model, state = quantized.loaded.model, quantized.state
    feeds = quantized.feeds[0]
    found = run_literally(with_shifts(model, plan, state, plan.layers), feeds)
    exported = onnx.load_model_from_string(export(model, plan, state))
    original = onnx.load_model_from_string(quantized.loaded.serialized())
    names = Names.free_in(model)
    for layer, shift in zip(plan.layers, found.values(), strict=True):
        means = []
        for integers in ((names.quantized(layer.inputs[0]),), ()):
            part = onnx.load_model_from_string(put_back(exported, original, FloatPart(integers)))
            del part.graph.output[:]
            part.graph.output.append(onnx.helper.make_empty_tensor_value_info(layer.output))
            output = run_literally(part, feeds)[layer.output].astype(np.float64)
            means.append(output.mean(axis=tuple(i for i in range(output.ndim) if i != 1)))
        np.testing.assert_allclose(shift.reshape(-1), means[0] - means[1], atol=1e-5)
