import hashlib
import re
import subprocess
import sys

import numpy as np
import onnx
import pytest
from networks import (
    Builder,
    Quantized,
    assert_computes_the_same,
    feeds_of,
    load,
    node_types,
    run_literally,
    write,
)
from onnx import helper
from onnx.external_data_helper import set_external_data

from distq.errors import ModelError
from distq.graph.load import load_model

IMAGE = [1, 4, 8, 8]


def exported_at(opset, *, listed=False):
    """A network as an exporter of that time wrote it: what changed from opset to opset is in it."""
    b = Builder()
    t = b.batch_norm(b.conv("x", (4, 6), bias=False), 6)
    t = b.node("Clip", t, min=0.0, max=6.0) if opset < 11 else b.node("Relu", t)
    sizes = [1.0, 1.0, 2.0, 2.0]
    if opset < 9:
        t = b.node("Upsample", t, scales=sizes, mode="nearest")
    elif opset < 10:
        t = b.node("Upsample", t, b.constant(np.array(sizes, np.float32)), mode="nearest")
    else:
        t = b.node("MaxPool", t, kernel_shape=[2, 2], ceil_mode=1)
    t = b.node("Dropout", b.node("AveragePool", t, kernel_shape=[2, 2]))
    t = b.node("GlobalAveragePool", b.node("LeakyRelu", b.node("Identity", t), alpha=0.1))
    t = b.node("Gemm", b.node("Flatten", t), b.random(6, 5), b.random(5))
    b.node("Softmax", t, axis=1, output="y")
    return b.model({"x": IMAGE}, ["y"], opset, listed=listed)


def small():
    b = Builder()
    b.conv(b.node("Relu", b.conv("x", (4, 4))), (4, 3), output="y")
    return b.model({"x": IMAGE}, ["y"])


def message(path):
    with pytest.raises(ModelError) as caught:
        load_model(path)
    text = str(caught.value)
    assert "\n" not in text
    assert str(path) in text
    return text


@pytest.mark.parametrize("opset", range(7, 22))
def test_any_opset_from_7_is_brought_to_13_or_left_newer_and_computes_the_same(tmp_path, opset):
    proto = exported_at(opset)
    loaded = load(tmp_path, proto)
    assert loaded.model.opset_imports[""] == max(opset, 13)
    assert not {"BatchNormalization", "Dropout", "Identity", "Upsample"} & set(node_types(loaded))
    assert_computes_the_same(loaded, proto)


@pytest.mark.parametrize("opset", [7, 9, 13])
def test_initializers_listed_as_inputs_are_constants(tmp_path, opset):
    proto = exported_at(opset, listed=True)
    loaded = load(tmp_path, proto)
    assert [value.name for value in loaded.model.graph.inputs] == ["x"]
    assert_computes_the_same(loaded, proto)


def test_the_file_and_not_its_canonical_form_is_what_the_hash_is_of(tmp_path):
    path = write(tmp_path, small())
    assert load_model(path).sha256 == hashlib.sha256(path.read_bytes()).hexdigest()


def test_inputs_and_outputs_keep_names_types_and_shapes(tmp_path):
    b = Builder()
    first = b.node("Relu", b.batch_norm(b.conv("left", (4, 4)), 4), output="features")
    b.node("Identity", b.node("Dropout", b.conv(first, (4, 2))), output="a head")
    b.node("Dropout", b.node("Add", first, b.conv("right", (2, 4))), output="b:0")
    proto = b.model({"left": ["N", 4, 8, 8], "right": ["N", 2, 8, 8]}, ["a head", "b:0", "features"])
    loaded = load(tmp_path, proto)
    found = onnx.load_model_from_string(loaded.serialized()).graph
    assert list(found.input) == list(proto.graph.input)
    assert [(v.name, v.type) for v in found.output] == [(v.name, v.type) for v in proto.graph.output]
    assert_computes_the_same(loaded, proto, batch=3)


def test_a_function_is_inlined(tmp_path):
    b = Builder()
    b.node("Scaled", b.conv("x", (4, 4)), output="y", domain="mine")
    proto = b.model({"x": IMAGE}, {"y": IMAGE}, 17, domains=["mine"])
    body = [helper.make_node("Relu", ["p"], ["q"]), helper.make_node("Neg", ["q"], ["r"])]
    function = helper.make_function("mine", "Scaled", ["p"], ["r"], body, [helper.make_opsetid("", 17)])
    proto.functions.append(function)
    loaded = load(tmp_path, proto)
    assert node_types(loaded) == ["Conv", "Relu", "Neg"]
    assert_computes_the_same(loaded, proto)


def test_the_spectrum_of_real_samples_has_one_side_unless_the_file_says_two(tmp_path):
    b = Builder()
    b.node("STFT", "x", b.constant(np.int64(4)), b.random(16), output="spectrum")
    b.node("MatMul", b.node("ReduceMax", "spectrum", axes=[3], keepdims=0), b.random(9, 3), output="y")
    proto = b.model({"x": [1, 64, 1]}, {"y": [1, 13, 3]}, 17)
    assert_computes_the_same(load(tmp_path, proto), proto)


def test_a_second_load_gives_the_same_bytes_also_in_another_process(tmp_path):
    path = write(tmp_path, exported_at(9))
    own = load_model(path).serialized()
    assert load_model(path).serialized() == own
    code = (
        "import hashlib, pathlib, sys; from distq.graph.load import load_model;"
        "print(hashlib.sha256(load_model(pathlib.Path(sys.argv[1])).serialized()).hexdigest())"
    )
    other = subprocess.run(  # noqa: S603  # this interpreter
        [sys.executable, "-c", code, str(path)], capture_output=True, text=True, check=True
    )
    assert other.stdout.strip() == hashlib.sha256(own).hexdigest()


def test_weights_beside_the_model_are_read(tmp_path):
    proto = small()
    feeds = feeds_of(proto)
    wanted = run_literally(proto, feeds)["y"]
    tensor = proto.graph.initializer[0]
    (tmp_path / "weights.bin").write_bytes(tensor.raw_data)
    _move_outside(tensor, "weights.bin")
    np.testing.assert_array_equal(run_literally(load(tmp_path, proto).serialized(), feeds)["y"], wanted)


@pytest.mark.parametrize("location", ["../weights.bin", "/etc/hostname", "missing.bin", "link.bin"])
def test_weights_may_not_lie_outside_the_folder(tmp_path, location):
    folder = tmp_path / "model"
    folder.mkdir()
    proto = small()
    (tmp_path / "weights.bin").write_bytes(proto.graph.initializer[0].raw_data)
    (folder / "link.bin").symlink_to(tmp_path / "weights.bin")
    _move_outside(proto.graph.initializer[0], location)
    assert "c0" in message(write(folder, proto))


def _move_outside(tensor, location):
    set_external_data(tensor, location)
    tensor.ClearField("raw_data")
    tensor.data_location = onnx.TensorProto.EXTERNAL


def test_a_missing_file_or_a_folder_is_named(tmp_path):
    assert "No such file" in message(tmp_path / "none.onnx")
    assert "it is a folder" in message(tmp_path)


@pytest.mark.parametrize(
    "content", [b"", b"\0" * 64, b"not a model at all", np.random.default_rng(0).bytes(999)]
)
def test_a_file_that_is_no_model_is_refused(tmp_path, content):
    path = tmp_path / "bad.onnx"
    path.write_bytes(content)
    assert "export it again" in message(path)


def test_a_file_cut_off_anywhere_is_refused(tmp_path):
    data = small().SerializeToString()
    path = tmp_path / "cut.onnx"
    for size in range(1, len(data) - 8, 37):  # the last bytes are the opset
        path.write_bytes(data[:size])
        message(path)


def test_a_model_without_nodes_or_without_opset_is_refused(tmp_path):
    empty = Builder().model({"x": IMAGE}, [])
    assert re.search("no nodes|output", message(write(tmp_path, empty)))
    nothing = small()
    nothing.ClearField("opset_import")
    message(write(tmp_path, nothing))


def test_opset_6_is_refused_with_the_oldest_that_works(tmp_path):
    proto = small()
    proto.opset_import[0].version = 6
    text = message(write(tmp_path, proto))
    assert "opset 6" in text
    assert "7" in text


def test_a_model_that_cannot_be_upgraded_is_refused(tmp_path):
    b = Builder()
    b.batch_norm(b.conv("x", (4, 4)), 4, output="y", spatial=0)  # went away with opset 9
    assert "opset 13" in message(write(tmp_path, b.model({"x": IMAGE}, ["y"], 8)))


def test_a_quantized_model_is_refused(tmp_path):
    path = tmp_path / "int8.onnx"
    path.write_bytes(Quantized(load(tmp_path, small())).export())
    assert "quantized already" in message(path)
