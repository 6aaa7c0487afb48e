"""Data layers of a prototxt: source and preprocessing."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from distq.errors import DataError, PreprocessError
from distq.exchange.caffe.data_layer import read_data_layer

REST = 'layer { name: "conv" type: "Convolution" bottom: "data" top: "conv" }'


def write(folder, text):
    path = folder / "net.prototxt"
    path.write_text(text + REST)
    return path


def data(name="data", parts="", source="db", kind="Data"):
    return (
        f'layer {{ name: "{name}" type: "{kind}" top: "{name}" top: "label" {parts} '
        f'data_param {{ source: "{source}" batch_size: 4 backend: LMDB }} }}\n'
    )


def steps(layer, channels=3):
    return layer.preprocessing(channels)[0].describe()["inputs"]["*"]["steps"]


@pytest.mark.parametrize("kind", ["Data", "AnnotatedData"])
def test_a_database_beside_the_prototxt(tmp_path, kind):
    (tmp_path / "db").mkdir()
    layer = read_data_layer(write(tmp_path, data(parts="transform_param { scale: 0.5 }", kind=kind)))
    assert layer.source() == (tmp_path / "db", None)
    assert steps(layer) == [{"color": "bgr"}, {"scale": 0.5}]


def test_a_path_may_start_at_the_current_folder_as_caffes_do(tmp_path, monkeypatch):
    (tmp_path / "nets").mkdir()
    (tmp_path / "db").mkdir()
    monkeypatch.chdir(tmp_path)
    path = write(tmp_path / "nets", data())
    assert read_data_layer(path).source()[0] == tmp_path / "db"
    (tmp_path / "nets" / "db").mkdir()
    assert read_data_layer(path).source()[0] == tmp_path / "nets" / "db"


def test_the_layer_for_test_goes_before_that_for_training(tmp_path):
    train = data(parts="include { phase: TRAIN } transform_param { distort_param { } }", source="train")
    test = data(parts="include { phase: TEST } transform_param { scale: 2 }", source="test")
    (tmp_path / "test").mkdir()
    for text in (
        train + test,
        test + train,
        train.replace("include", "exclude").replace("TRAIN", "TEST") + test,
    ):
        layer = read_data_layer(write(tmp_path, text))
        assert layer.source()[0] == tmp_path / "test"
        assert steps(layer) == [{"color": "bgr"}, {"scale": 2.0}]


def test_one_for_training_alone_is_taken_and_said(tmp_path):
    parts = "include { phase: TRAIN } transform_param { crop_size: 3 }"
    _, notes = read_data_layer(write(tmp_path, data(parts=parts))).preprocessing()
    assert "is for TRAIN, and there is none for TEST: a crop is of the middle" in notes[0]


@pytest.mark.parametrize(
    ("channels", "parts", "color"),
    [
        (1, "", "gray"),
        (3, "", "bgr"),
        (None, "", "bgr"),
        (3, "transform_param { force_gray: true }", "gray"),
        (1, "transform_param { force_color: true }", "bgr"),
        (1, "data_param { force_encoded_color: true }", "bgr"),
    ],
)
def test_an_image_is_gray_where_the_model_or_the_layer_says_so(tmp_path, channels, parts, color):
    assert steps(read_data_layer(write(tmp_path, data(parts=parts))), channels) == [{"color": color}]


def test_an_image_list(tmp_path):
    (tmp_path / "images").mkdir()
    (tmp_path / "images" / "a.png").write_bytes(b"")
    (tmp_path / "lists").mkdir()
    (tmp_path / "lists" / "list.txt").write_text("a.png 3\n")
    text = (
        'layer { name: "data" type: "ImageData" top: "data" image_data_param { source: "lists/list.txt" '
        'root_folder: "images/" new_height: 6 new_width: 5 is_color: false } transform_param { scale: 2 } }'
    )
    layer = read_data_layer(write(tmp_path, text))
    assert layer.source() == (tmp_path / "lists" / "list.txt", tmp_path / "images")
    assert [list(step) for step in steps(layer)] == [["color"], ["resize"], ["scale"]]
    assert steps(layer)[0] == {"color": "gray"}
    without = read_data_layer(write(tmp_path, text.replace('root_folder: "images/"', "")))
    (tmp_path / "lists" / "a.png").write_bytes(b"")
    assert without.source()[1] == tmp_path / "lists"


def test_a_python_layer(tmp_path):
    (tmp_path / "list.txt").write_text("a.png\n")
    text = (
        'layer { name: "data" type: "Python" top: "data" python_param { module: "m" layer: "L" '
        "param_str: \"{'data_list': 'list.txt', 'h': 4, 'w': 6, 'color_format': 'rgb', 'batch_size': 2}\" } }"
    )
    layer = read_data_layer(write(tmp_path, text))
    assert layer.source() == (tmp_path / "list.txt", tmp_path)
    assert [list(step) for step in steps(layer)] == [["color"], ["resize"], ["color"]]


def test_files_before_2014(tmp_path):
    (tmp_path / "db").mkdir()
    np.save(tmp_path / "mean.npy", np.zeros((3, 4, 4), np.float32))
    text = (
        'layers { name: "data" type: DATA top: "data" data_param { source: "db" mean_file: "mean.npy" '
        "crop_size: 2 mirror: true scale: 0.5 } }"
    )
    layer = read_data_layer(write(tmp_path, text))
    assert layer.source()[0] == tmp_path / "db"
    assert [list(step) for step in steps(layer)] == [["color"], ["mean_file"], ["center_crop"], ["scale"]]
    assert any("mirror is left out" in note for note in layer.preprocessing()[1])


def test_of_several_the_models_input_chooses(tmp_path):
    path = write(tmp_path, data("data", source="images") + data("mask", source="masks"))
    (tmp_path / "masks").mkdir()
    assert read_data_layer(path, ["mask"]).source()[0] == tmp_path / "masks"
    with pytest.raises(DataError, match=r"several data layers \(data, mask\): give --data"):
        read_data_layer(path)


def test_a_network_to_deploy_has_none(tmp_path):
    assert read_data_layer(write(tmp_path, 'input: "data" input_dim: [1, 3, 4, 4]\n')) is None


def test_fields_unknown_here_are_named(tmp_path):
    layer = read_data_layer(write(tmp_path, data(parts="transform_param { wobble: 3 }")))
    assert layer.preprocessing()[1][-1].endswith("left out, as unknown: wobble")


def test_a_missing_source_is_named_with_its_line(tmp_path):
    path = write(tmp_path, "\n" + data())
    with pytest.raises(DataError, match=r"net\.prototxt, line 2: layer 'data': its source db is neither in"):
        read_data_layer(path).source()


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (
            'layer { name: "x" type: "HDF5Data" top: "data" hdf5_data_param { source: "a" } }',
            "save .* as .npz",
        ),
        ('layers { name: "x" type: WINDOW_DATA top: "data" }', "windows of images are not read"),
        ('layer { name: "x" type: "MemoryData" top: "data" }', "names no source: give --data"),
        ('layer { name: "x" type: "Data" top: "data" }', "names no source: give --data"),
    ],
)
def test_sources_that_are_not_read_are_refused(tmp_path, text, reason):
    with pytest.raises(DataError, match=f"layer 'x'.*{reason}"):
        read_data_layer(write(tmp_path, text)).source()


def test_random_pieces_of_an_annotated_layer_are_refused(tmp_path):
    parts = "annotated_data_param { batch_sampler { } batch_sampler { sampler { min_scale: 0.3 } } }"
    layer = read_data_layer(write(tmp_path, data(parts=parts, kind="AnnotatedData")))
    with pytest.raises(PreprocessError, match="batch_sampler cuts pieces out at random"):
        layer.preprocessing()


def test_a_sampler_of_whole_pictures_changes_nothing(tmp_path):
    """Every SSD's TEST layer has one."""
    parts = "annotated_data_param { batch_sampler { } }"
    layer = read_data_layer(write(tmp_path, data(parts=parts, kind="AnnotatedData")))
    assert layer.preprocessing()[1] == ()
    assert steps(layer) == [{"color": "bgr"}]


def test_a_label_map_names_the_classes_from_1_on(tmp_path):
    parts = 'annotated_data_param { label_map_file: "map.prototxt" }'
    layer = read_data_layer(write(tmp_path, data(parts=parts, kind="AnnotatedData")))
    names, notes = layer.class_names()
    assert names == ()
    assert "map.prototxt is not there: classes go by their numbers" in notes[0]
    (tmp_path / "map.prototxt").write_text(
        'item { name: "none" label: 0 } item { name: "7" label: 3 display_name: "cat" } '
        'item { name: "dog" label: 1 }'
    )
    assert layer.class_names() == (("dog", "", "cat"), ())
    (tmp_path / "map.prototxt").write_text(REST)
    with pytest.raises(DataError, match="is no label map"):
        layer.class_names()


def test_a_mean_file_lies_beside_the_prototxt(tmp_path):
    path = write(tmp_path, data(parts='transform_param { mean_file: "mean.binaryproto" }'))
    with pytest.raises(
        PreprocessError, match=f"mean file {Path(tmp_path, 'mean.binaryproto')} cannot be read"
    ):
        read_data_layer(path).preprocessing()


def test_the_values_are_those_of_caffes_own_loop(tmp_path):
    """BVLC Caffe, data_transformer.cpp: the mean has the place in the whole picture, not in the crop."""
    rng = np.random.default_rng(0)
    image, mean = (
        rng.integers(0, 256, (9, 12, 3), np.uint8),
        rng.uniform(0, 255, (3, 9, 12)).astype(np.float32),
    )
    np.save(tmp_path / "mean.npy", mean)
    parts = 'transform_param { scale: 0.0078125 crop_size: 4 mean_file: "mean.npy" }'
    steps = read_data_layer(write(tmp_path, data(parts=parts))).preprocessing()[0].for_input("data")
    wanted = np.empty((1, 3, 4, 4), np.float32)
    top, left = (9 - 4) // 2, (12 - 4) // 2
    for channel, row, column in np.ndindex(3, 4, 4):
        pixel = np.float32(image[top + row, left + column, channel])
        wanted[0, channel, row, column] = (pixel - mean[channel, top + row, left + column]) * np.float32(
            0.0078125
        )
    np.testing.assert_array_equal(steps.apply(image), wanted)
