"""The two files of a Caffe network: text with fields of forks, weights in all their forms, damaged ones."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from caffe_networks import Case, layer, numbers

from distq.errors import ModelError
from distq.exchange.caffe.convert import load_caffe, read_caffe
from distq.exchange.caffe.prototxt import parse_prototxt
from distq.exchange.caffe.schema import new_message
from distq.exchange.caffe.weights import read_weights

CONVOLUTION = Case(
    layer("Convolution", "c", convolution_param="num_output: 2 kernel_size: 1"),
    blobs={"c": ((2, 4, 1, 1), (2,))},
)


def test_text_is_read_as_protobuf_has_it() -> None:
    text = """# a comment; with "quotes"
    name: 'a' "b" ; layer: < name: "x\\n\\"y\\"", type: "Data"   # another
      transform_param { mean_value: [1, 2.5f, 3e0] mirror: true scale: 1e-2 }
      data_param { backend: 1 batch_size: 010 rand_skip: 0x1F } >
    """
    net = parse_prototxt(text, Path("net.prototxt")).net
    (data,) = net.layer
    assert (net.name, data.name) == ("ab", 'x\n"y"')
    assert list(data.transform_param.mean_value) == [1, 2.5, 3]
    assert data.transform_param.mirror
    assert data.transform_param.scale == pytest.approx(0.01)
    assert (data.data_param.backend, data.data_param.batch_size) == ("LMDB", 8)
    assert data.data_param.rand_skip == 31


def test_unknown_fields_are_kept_apart_with_their_lines() -> None:
    text = 'layer {\n name: "a"\n odd { deep: <x: [1, 2]> }\n}\nlayer {\n name: "b"\n strange: FOO\n}'
    source = parse_prototxt(text, Path("net.prototxt"))
    assert [(u.message, u.name, u.line) for u in source.unknown] == [
        ("LayerParameter", "odd", 3),
        ("LayerParameter", "strange", 7),
    ]
    assert [(found.name, line) for found, line in source.layers()] == [("a", 1), ("b", 5)]
    assert [u.name for u in source.unknown_in(5)] == ["strange"]


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("layer {\n name: }", "line 2: '}' where a value was expected"),
        ("layer {\n name", "line 2: name has no value"),
        ("layer {", "'the end of the file' where a field's name"),
        ('name: "open', "line 1: '\"' is no prototxt"),
        ("layer { pooling_param { kernel_size: big } }", "kernel_size: 'big' is no value of it"),
        ("layer { pooling_param: 3 }", "pooling_param is a message"),
        ("name { }", "name is a plain value"),
        ("layer { bias_term: x\x00 }", "is no prototxt"),
        ("a {" * 90, "nested too deeply"),
    ],
)
def test_what_is_no_prototxt_is_refused_with_its_line(text: str, reason: str) -> None:
    with pytest.raises(ModelError, match=reason):
        parse_prototxt(text, Path("net.prototxt"))


def test_weights_are_read_in_all_their_forms(tmp_path: Path) -> None:
    values = numbers((2, 3), 1)
    net = new_message("WeightsNet")
    packed, double = values.tobytes(), values.astype(np.float64).tobytes()
    net.layer.add(name=b"new").blobs.add(data=[packed]).shape.dim.extend([2, 3])
    net.layer.add(name=b"parts").blobs.add(data=[packed[:8], packed[8:]]).shape.dim.extend([2, 3])
    net.layer.add(name=b"double").blobs.add(double_data=[double]).shape.dim.extend([2, 3])
    net.layer.add(name=b"legacy").blobs.add(data=[packed], num=1, channels=1, height=2, width=3)
    half = net.layer.add(name=b"half").blobs.add(raw_data=values.astype("<f2").tobytes(), raw_data_type=2)
    half.shape.dim.extend([2, 3])
    net.layers.add(name=b"second").blobs.add(data=[packed]).shape.dim.extend([2, 3])
    path = tmp_path / "net.caffemodel"
    path.write_bytes(net.SerializeToString())
    found = read_weights(path)
    assert found["legacy"][0].shape == (1, 1, 2, 3)
    for name in ("new", "parts", "double", "legacy", "second"):
        np.testing.assert_array_equal(found[name][0].reshape(2, 3), values)
    np.testing.assert_allclose(found["half"][0], values, atol=1e-3)


@pytest.mark.parametrize(
    ("before", "kept", "reason"),
    [
        (b"", -7, "cut off"),
        (b"", 0, "no layers"),
        (b"\x89HDF\r\n", None, "HDF5"),
        (b"name: 'text'", 0, "cut off"),
    ],
)
def test_damaged_weights_are_refused(before: bytes, kept: int | None, reason: str, tmp_path: Path) -> None:
    path = CONVOLUTION.save(tmp_path)
    weights = path.with_suffix(".caffemodel")
    weights.write_bytes(before + weights.read_bytes()[:kept])
    with pytest.raises(ModelError, match=reason):
        load_caffe(path)


def test_weights_of_another_network_are_refused(tmp_path: Path) -> None:
    path = CONVOLUTION.save(tmp_path)
    path.write_text(path.read_text().replace("num_output: 2", "num_output: 3"))
    with pytest.raises(ModelError, match=r"layer c .*needs weights of shape \[3, 4, 1, 1\].*\[2, 4, 1, 1\]"):
        load_caffe(path)


def test_weights_under_other_names_are_refused_with_all_names(tmp_path: Path) -> None:
    path = CONVOLUTION.save(tmp_path)
    path.write_text(path.read_text().replace('name: "c"', 'name: "renamed"'))
    with pytest.raises(ModelError, match="no weights for renamed: it has c, of other names"):
        load_caffe(path)


def test_weights_that_no_layer_has_are_noted(tmp_path: Path) -> None:
    case = Case(CONVOLUTION.layers, CONVOLUTION.inputs, {**CONVOLUTION.blobs, "spare": ((2,),)})
    (note,) = read_caffe(case.save(tmp_path)).notes
    assert "spare" in note


def test_weights_beside_the_prototxt_are_found_or_said_to_be_missing(tmp_path: Path) -> None:
    path = CONVOLUTION.save(tmp_path)
    beside = load_caffe(path)
    weights = path.with_suffix(".caffemodel").rename(tmp_path / "other.caffemodel")
    assert load_caffe(path, weights) == beside
    with pytest.raises(ModelError, match=r"net\.caffemodel is missing: give --weights"):
        load_caffe(path)


def test_both_files_make_the_identity(tmp_path: Path) -> None:
    path = CONVOLUTION.save(tmp_path)
    first = read_caffe(path).sha256
    weights = path.with_suffix(".caffemodel")
    weights.write_bytes(weights.read_bytes() + b"\x0a\x01x")
    second = read_caffe(path).sha256
    path.write_text(path.read_text() + "# changed\n")
    assert len({first, second, read_caffe(path).sha256}) == 3


def test_names_in_another_code_than_utf8_are_the_same_in_both_files(tmp_path: Path) -> None:
    path = CONVOLUTION.save(tmp_path)
    for file in (path, path.with_suffix(".caffemodel")):
        file.write_bytes(file.read_bytes().replace(b'"c"', b'"\xb2"').replace(b"\n\x01c", b"\n\x01\xb2"))
    assert load_caffe(path).graph.node[0].name == "\xb2"
