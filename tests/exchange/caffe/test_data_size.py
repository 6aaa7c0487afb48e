"""The shape of a network's input, as its data layer says or its first sample has it."""

from __future__ import annotations

import cv2
import lmdb
import numpy as np
import pytest

from distq.data.datum import Datum, encode_datum
from distq.exchange.caffe.data_layer import read_data_layer
from distq.exchange.caffe.data_size import loaded_shape


@pytest.fixture
def folder(tmp_path):
    cv2.imwrite(str(tmp_path / "a.png"), np.zeros((9, 12, 3), np.uint8))
    (tmp_path / "list.txt").write_text("a.png 0\n")
    for name, datum in (
        ("pixels", Datum(3, 6, 8, bytes(144), 0)),
        ("floats", Datum(2, 1, 5, float_data=(0.5,) * 10)),
    ):
        environment = lmdb.open(str(tmp_path / name))
        with environment.begin(write=True) as transaction:
            transaction.put(b"0", encode_datum(datum))
        environment.close()
    return tmp_path


def shape(folder, transform="", source="pixels", kind="Data", parameters="data_param"):
    (folder / "net.prototxt").write_text(
        f'layer {{ name: "data" type: "{kind}" top: "data" {parameters} {{ source: "{source}" }} '
        f"transform_param {{ {transform} }} }}"
    )
    return loaded_shape(read_data_layer(folder / "net.prototxt"))


@pytest.mark.parametrize(
    ("transform", "wanted"),
    [
        ("crop_size: 4", (1, 3, 4, 4)),
        ("force_gray: true crop_h: 4 crop_w: 5", (1, 1, 4, 5)),
        ("resize_param { height: 20 width: 30 }", (1, 3, 20, 30)),
        ("resize_param { height: 20 width: 30 } crop_fraction: 0.5", (1, 3, 10, 16)),
        ("transform_op { op: RESIZE resize_h: 20 resize_w: 30 } transform_op { op: STAND }", (1, 3, 20, 30)),
    ],
)
def test_a_step_that_fixes_the_size_needs_no_data(tmp_path, transform, wanted):
    assert shape(tmp_path, transform, source="missing") == wanted


@pytest.mark.parametrize(
    ("transform", "wanted"),
    [
        ("", (1, 3, 6, 8)),
        ("crop_fraction: 0.5", (1, 3, 4, 4)),
        ("resize: 3", (1, 3, 3, 4)),
        ("resize_param { resize_mode: FIT_SMALL_SIZE height: 3 width: 3 }", (1, 3, 3, 4)),
    ],
)
def test_else_the_first_sample_says_it(folder, transform, wanted):
    assert shape(folder, transform) == wanted


def test_of_arrays_and_of_listed_images(folder):
    assert shape(folder, source="floats") == (1, 2, 1, 5)
    assert shape(folder, source="list.txt", kind="ImageData", parameters="image_data_param") == (1, 3, 9, 12)


def test_without_data_it_is_not_known(tmp_path):
    assert shape(tmp_path, source="missing") is None
