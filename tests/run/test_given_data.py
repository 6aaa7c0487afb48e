"""Which data and preprocessing a job takes: options first, then the data layer of a prototxt."""

from __future__ import annotations

from pathlib import Path

import lmdb
import pytest

from distq.data.datum import Datum, encode_datum
from distq.data.samples import InputSpec
from distq.errors import DataError, UsageError
from distq.run.given_data import given_data

INPUTS = (InputSpec("data", (1, 3, 4, 4), "float32"),)


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "db").mkdir()
    layer = (
        'layer { name: "data" type: "Data" top: "data" data_param { source: "db" backend: LMDB } '
        "transform_param { scale: 0.5 mirror: true } }"
    )
    (tmp_path / "net.prototxt").write_text(layer)
    (tmp_path / "other.prototxt").write_text(layer.replace("0.5", "0.25"))
    (tmp_path / "deploy.prototxt").write_text('input: "data" input_dim: [1, 3, 4, 4]')
    return tmp_path


def scales(given):
    steps = given.preprocess.describe()["inputs"]["*"]["steps"]
    return [step["scale"] for step in steps if "scale" in step]


def test_the_prototxt_alone_is_enough(folder):
    given = given_data(folder / "net.prototxt", None, None, INPUTS)
    assert given.source == folder / "db"
    assert scales(given) == [0.5]
    assert "mirror is left out" in given.notes[0]


def test_what_the_user_gives_goes_first(folder):
    photos, steps = folder / "photos", folder / "p.yaml"
    assert given_data(folder / "net.prototxt", photos, None, INPUTS).source == photos
    assert scales(given_data(folder / "net.prototxt", photos, None, INPUTS)) == [0.5]
    given = given_data(folder / "net.prototxt", None, steps, INPUTS)
    assert (given.source, given.preprocess, given.notes) == (folder / "db", steps, ())
    assert scales(given_data(folder / "net.prototxt", None, folder / "other.prototxt", INPUTS)) == [0.25]


def test_another_model_takes_both_from_a_prototxt(folder):
    given = given_data(folder / "net.onnx", folder / "other.prototxt", None, INPUTS)
    assert given.source == folder / "db"
    assert scales(given) == [0.25]
    given = given_data(folder / "net.onnx", folder / "photos", folder / "net.prototxt", INPUTS)
    assert given.source == folder / "photos"
    assert scales(given) == [0.5]


def test_without_a_prototxt_there_is_no_preprocessing(folder):
    given = given_data(folder / "net.onnx", Path("photos"), None, INPUTS)
    assert (given.source, given.preprocess, given.root, given.notes) == (Path("photos"), None, None, ())


def test_a_network_to_deploy_says_nothing_about_images(folder):
    given = given_data(folder / "deploy.prototxt", Path("photos"), None, INPUTS)
    assert given.preprocess is None
    assert "images become RGB, unscaled; most Caffe networks take BGR minus a mean" in given.notes[0]
    assert given_data(folder / "deploy.prototxt", Path("x.npy"), None, INPUTS).notes == ()
    (folder / "kept").mkdir()
    (folder / "kept" / "recorded.json").write_text("{}")
    assert given_data(folder / "deploy.prototxt", folder / "kept", None, INPUTS).notes == ()


def test_what_is_missing_is_named(folder):
    with pytest.raises(UsageError, match="--data is missing"):
        given_data(folder / "net.onnx", None, None, INPUTS)
    with pytest.raises(DataError, match=r"deploy\.prototxt has no data layer that names a source"):
        given_data(folder / "deploy.prototxt", None, None, INPUTS)
    with pytest.raises(DataError, match=r"deploy\.prototxt has no data layer: give a preprocessing file"):
        given_data(folder / "net.onnx", Path("photos"), folder / "deploy.prototxt", INPUTS)


def test_arrays_in_the_database_that_skip_the_transformations_are_said(folder):
    (folder / "db").rmdir()
    environment = lmdb.open(str(folder / "db"))
    with environment.begin(write=True) as transaction:
        transaction.put(b"0", encode_datum(Datum(1, 1, 2, float_data=(1.0, 2.0))))
    environment.close()
    notes = given_data(folder / "net.prototxt", None, None, INPUTS).notes
    assert (
        notes[-1] == f"{folder / 'db'} holds arrays (float_data): the data layer's transformations skip them"
    )
