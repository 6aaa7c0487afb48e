"""What users see of a model stays theirs, in the canonical form and in the exported network."""

import numpy as np
import onnx
import pytest
from networks import Builder, Quantized, assert_computes_the_same, feeds_of, run_literally
from onnx import TensorProto, helper

from distq.graph.check import check_made
from distq.graph.probes import with_outputs

IMAGE = [1, 4, 8, 8]


def seen(graph):
    return [[(v.name, v.type, v.doc_string) for v in values] for values in (graph.input, graph.output)]


def stored(loaded):
    return onnx.load_model_from_string(loaded.serialized())


def exported(loaded, **options):
    return onnx.load_model_from_string(Quantized(loaded, **options).exported)


def two_layers(b, output="y"):
    return b.conv(b.node("Relu", b.conv("x", (4, 4))), (4, 3), output=output)


def declared(name, shape, kind=TensorProto.FLOAT):
    return helper.make_tensor_value_info(name, kind, shape)


@pytest.mark.parametrize("opset", [11, 13, 17])
def test_a_tensor_returned_twice_keeps_both_names(load, opset):
    b = Builder()
    b.node("Identity", two_layers(b), output="again")
    b.node("Identity", "again", output="once more")
    proto = b.model({"x": IMAGE}, ["once more", "y", "again"], opset)
    loaded = load(proto)
    assert_computes_the_same(loaded, proto)
    assert seen(exported(loaded).graph) == seen(proto.graph)


@pytest.mark.parametrize("target", ["ort", "openvino", "tensorrt"])
def test_an_input_and_a_constant_can_be_outputs(load, target):
    b = Builder()
    two_layers(b)
    anchors = b.random(5, 4, name="anchors")
    b.node("Identity", anchors, output="again")
    proto = b.model({"x": IMAGE}, ["y"])
    more = [declared("x", IMAGE), declared("anchors", [5, 4]), declared("again", [5, 4])]
    proto.graph.output.extend(more)
    loaded = load(proto)
    quantized = Quantized(loaded, target)
    feeds = feeds_of(proto)
    wanted, found = run_literally(proto, feeds), run_literally(quantized.exported, feeds)
    assert list(found) == list(wanted)
    for name in ("x", "anchors", "again"):
        np.testing.assert_array_equal(found[name], wanted[name])


def test_open_dimensions_stay_open_and_named(load):
    b = Builder()
    two_layers(b)
    proto = b.model({"x": ["batch", 4, "height", "width"]}, ["y"])
    proto.graph.output[0].CopyFrom(declared("y", ["images", "classes", None, "columns"]))
    loaded = load(proto)
    assert seen(stored(loaded).graph) == seen(proto.graph)
    assert seen(exported(loaded).graph) == seen(proto.graph)


def test_a_declared_size_that_cannot_be_is_corrected(load):
    b = Builder()
    two_layers(b)
    proto = b.model({"x": [2, 4, 8, 8]}, ["y"])
    proto.graph.output[0].CopyFrom(declared("y", [1, 3, 8, 8]))
    loaded = load(proto)
    sizes = [d.dim_value for d in exported(loaded).graph.output[0].type.tensor_type.shape.dim]
    assert sizes == [2, 3, 8, 8]


def test_an_output_without_a_shape_is_given_one(load):
    b = Builder()
    two_layers(b)
    proto = b.model({"x": IMAGE}, ["y"])
    proto.graph.output[0].type.tensor_type.ClearField("shape")
    found = exported(load(proto))
    onnx.checker.check_model(found, full_check=True)
    assert found.graph.output[0].type.tensor_type.HasField("shape")


@pytest.mark.parametrize("opset", [11, 13, 17])
def test_annotations_are_kept_also_where_the_opset_changes(load, opset):
    b = Builder()
    two_layers(b)
    proto = b.model({"x": IMAGE}, ["y"], opset)
    helper.set_model_props(proto, {"names": "{0: 'cat'}", "stride": "32"})
    proto.doc_string, proto.graph.doc_string = "of the model", "of the graph"
    proto.graph.metadata_props.add(key="task", value="detection")
    for value in (proto.graph.input[0], proto.graph.output[0]):
        value.doc_string = f"of {value.name}"
        value.metadata_props.add(key="unit", value="pixels")
        value.type.denotation = "IMAGE"
        value.type.tensor_type.shape.dim[1].denotation = "DATA_CHANNEL"
    loaded = load(proto)
    tensor = Quantized(loaded).plan.quantizers[0].name
    for made in (stored(loaded), exported(loaded), exported(loaded, int16=[tensor])):
        assert seen(made.graph) == seen(proto.graph)
        assert made.metadata_props == proto.metadata_props
        assert (made.doc_string, made.graph.doc_string) == (proto.doc_string, proto.graph.doc_string)
        assert made.graph.metadata_props == proto.graph.metadata_props
        assert made.graph.input[0].metadata_props == proto.graph.input[0].metadata_props
        assert made.graph.output[0].metadata_props == proto.graph.output[0].metadata_props


def overridable(names):
    b = Builder()
    b.random(3, 4, 3, 3, name="weight")
    b.constant(np.float32(0.5), "threshold")
    b.positive(1, 4, 1, 1, name="gain")
    t = b.node("Mul", b.node("Relu", b.conv("x", (4, 4))), "gain")
    b.node("Conv", t, "weight", output="y", pads=[1] * 4)
    b.node("Greater", "y", "threshold", output="found")
    proto = b.model({"x": IMAGE}, ["y"])
    proto.graph.output.append(declared("found", [1, 3, 8, 8], TensorProto.BOOL))
    tensors = {t.name: t for t in proto.graph.initializer}
    proto.graph.input.extend(declared(n, tensors[n].dims) for n in names)
    return proto


def test_an_initializer_that_callers_may_replace_still_can_be(load):
    proto = overridable(["threshold", "gain"])
    loaded = load(proto)
    made = exported(loaded)
    assert [v.name for v in made.graph.input] == ["x", "threshold", "gain"]
    feeds = {
        **feeds_of(proto),
        "threshold": np.array(-100, np.float32),
        "gain": np.zeros((1, 4, 1, 1), np.float32),
    }
    found, wanted = run_literally(made, feeds), run_literally(proto, feeds)
    assert found["found"].all()
    np.testing.assert_allclose(found["y"], wanted["y"], atol=0.05)
    for given in (feeds, feeds_of(proto)):
        float_found, float_wanted = run_literally(loaded.serialized(), given), run_literally(proto, given)
        np.testing.assert_allclose(float_found["y"], float_wanted["y"], atol=1e-5)


def test_a_weight_is_a_constant_though_it_is_an_input_too(load):
    loaded = load(overridable(["weight", "threshold"]))
    assert [v.name for v in loaded.model.graph.inputs] == ["x", "threshold"]
    assert "y" in {layer.name for layer in Quantized(loaded).plan.layers}


def test_where_all_initializers_are_listed_none_is_meant_to_be_replaced(load):
    names = [t.name for t in overridable([]).graph.initializer]
    assert [v.name for v in load(overridable(names)).model.graph.inputs] == ["x"]


def test_inner_tensors_can_be_made_outputs_beside_an_input_that_is_one(load):
    b = Builder()
    two_layers(b)
    proto = b.model({"x": IMAGE}, ["y"])
    proto.graph.output.append(declared("x", IMAGE))
    found = run_literally(with_outputs(load(proto).model, ["x", "y"]), feeds_of(proto))
    assert list(found) == ["y"]


def test_a_size_of_minus_one_contradicts_no_inferred_one():
    b = Builder(1)
    b.node("Gemm", "x", b.random(4, 2), output="y")
    made = b.model({"x": [1, 4]}, {"y": [1, 2]})
    source = b.model({"x": ["batch", 4]}, ["y"])
    made.graph.output[0].type.tensor_type.shape.dim[0].dim_value = 1
    made.graph.input[0].type.tensor_type.shape.dim[0].dim_value = -1
    check_made(made, lambda: source)
    made.graph.output[0].type.tensor_type.shape.dim[1].dim_value = 3
    with pytest.raises(onnx.shape_inference.InferenceError):
        check_made(made, lambda: source)
