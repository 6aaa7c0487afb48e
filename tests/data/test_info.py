"""What ``distq dataset info`` tells."""

from __future__ import annotations

import numpy as np
import pytest
from data_helpers import annotated_datum, encoded, picture, raw_datum, write_lmdb, write_picture

from distq.data.datum import Datum, encode_datum
from distq.data.info import describe_source
from distq.errors import DataError


def test_a_folder(tmp_path):
    for index in range(7):
        write_picture(tmp_path / f"{index}.png", picture(4, 5 + index))
    (tmp_path / "1.png").write_bytes(b"junk")
    info = describe_source(tmp_path)
    assert (info.kind, info.count, info.labels) == ("folder", 7, False)
    assert info.names == ("0.png", "1.png", "2.png", "3.png", "4.png")
    assert info.shapes[0] == ("4x5x3",)
    assert info.shapes[1] == ("is of no known image format",)
    assert info.bytes == sum(path.stat().st_size for path in tmp_path.iterdir())


def test_hidden_files_are_counted(tmp_path):
    for name in ("a.png", "._a.png"):
        write_picture(tmp_path / name, picture(4, 5))
    info = describe_source(tmp_path)
    assert (info.count, info.names, info.hidden) == (1, ("a.png",), 1)


def test_a_list_with_labels_arrays_and_a_missing_file(tmp_path):
    write_picture(tmp_path / "a.png", picture(4, 5))
    np.save(tmp_path / "v.npy", np.zeros((2, 3), np.float32))
    (tmp_path / "list.txt").write_text("a.png,v.npy 3\ngone.png,v.npy 4\na.png,gone.npy 4\n")
    info = describe_source(tmp_path / "list.txt")
    assert (info.kind, info.count, info.labels) == ("list", 3, True)
    assert info.shapes[0] == ("4x5x3", "2x3 float32")
    assert info.shapes[1] == ("cannot be read: No such file or directory", "2x3 float32")
    assert "gone.npy cannot be read" in info.shapes[2][0]


def test_an_lmdb(tmp_path):
    image = picture(4, 5)
    stored = {
        b"a": raw_datum(image, 3),
        b"b": encode_datum(Datum(data=encoded(image), label=1, encoded=True)),
    }
    info = describe_source(write_lmdb(tmp_path / "db", stored))
    assert (info.kind, info.names, info.labels) == ("lmdb", ("a", "b"), True)
    assert info.shapes == (("4x5x3",), ("4x5x3",))
    assert info.bytes == (tmp_path / "db" / "data.mdb").stat().st_size


def test_arrays(tmp_path):
    np.savez(tmp_path / "x.npz", a=np.zeros((2, 3)), b=np.zeros((2, 4), np.int64))
    info = describe_source(tmp_path / "x.npz")
    assert (info.kind, info.count, info.labels) == ("npz", 2, False)
    assert info.shapes[0] == ("3 float64", "4 int64")


def test_an_empty_source_is_refused(tmp_path):
    with pytest.raises(DataError, match="is empty"):
        describe_source(tmp_path)


def test_boxes_of_an_annotated_database_are_said(tmp_path):
    annotated = annotated_datum(raw_datum(picture(4, 5)), {1: [(0, 0, 1, 1, False)]})
    assert describe_source(write_lmdb(tmp_path / "boxes", {b"0": annotated})).boxes
    assert not describe_source(write_lmdb(tmp_path / "plain", {b"0": raw_datum(picture(4, 5))})).boxes
