"""Caffe LMDBs as a source."""

from __future__ import annotations

from threading import Thread

import numpy as np
import pytest
from data_helpers import annotated_datum, encoded, image_input, picture, raw_datum, write_lmdb

from distq.data.boxes import Box
from distq.data.caffe_lmdb import LmdbSource
from distq.data.dataset import DatasetSpec, UnreadableSample
from distq.data.datum import Datum, encode_datum
from distq.errors import DataError


def test_records_come_in_key_order_with_names_and_labels(tmp_path):
    records = {
        b"00000002_z.png": raw_datum(picture(4, 5, 2), 7),
        "00000000_größe/日本.png".encode(): raw_datum(picture(4, 5, 0), -1),
        b"00000001_a b.png": raw_datum(picture(4, 5, 1)),
    }
    source = LmdbSource(write_lmdb(tmp_path / "db", records))
    assert [source.name(i) for i in range(len(source))] == [
        "00000000_größe/日本.png",
        "00000001_a b.png",
        "00000002_z.png",
    ]
    assert [source.label(i) for i in range(3)] == [-1, None, 7]
    assert source.aliases(0) == ("00000000_größe/日本.png", "größe/日本.png", "日本.png")


def test_raw_and_encoded_records_give_the_same_pixels(tmp_path):
    image = picture(6, 8)
    stored = {b"a": raw_datum(image), b"b": encode_datum(Datum(data=encoded(image), encoded=True))}
    dataset = DatasetSpec(str(write_lmdb(tmp_path / "db", stored)), (image_input(3, 6, 8),)).open()
    wanted = image[:, :, ::-1].transpose(2, 0, 1)[np.newaxis].astype(np.float32)
    np.testing.assert_array_equal(dataset.load(0).inputs["data"], wanted)
    np.testing.assert_array_equal(dataset.load(1).inputs["data"], wanted)


def test_one_channel_is_gray_and_a_fourth_is_dropped(tmp_path):
    four = np.dstack([picture(2, 2), np.full((2, 2, 1), 9, np.uint8)])
    folder = write_lmdb(tmp_path / "db", {b"a": raw_datum(four), b"b": raw_datum(four[:, :, :1])})
    color = DatasetSpec(str(folder), (image_input(3, 2, 2),)).open()
    np.testing.assert_array_equal(color.load(0).inputs["data"][0, 2], four[:, :, 0])
    np.testing.assert_array_equal(color.load(1).inputs["data"][0], np.repeat(four[None, :, :, 0], 3, 0))
    gray = DatasetSpec(str(folder), (image_input(1, 2, 2),)).open()
    np.testing.assert_array_equal(gray.load(1).inputs["data"][0, 0], four[:, :, 0])


def test_float_data_is_fed_as_it_is(tmp_path):
    values = np.arange(12, dtype=np.float32) - 5.5
    datum = Datum(3, 2, 2, label=1, float_data=values)
    folder = write_lmdb(tmp_path / "db", {b"a": encode_datum(datum)})
    sample = DatasetSpec(str(folder), (image_input(3, 2, 2),)).open().load(0)
    np.testing.assert_array_equal(sample.inputs["data"], values.reshape(1, 3, 2, 2))
    assert sample.label == 1


def test_a_database_of_something_else_is_refused(tmp_path):
    folder = write_lmdb(tmp_path / "db", {b"key": b"value"})
    with pytest.raises(DataError, match="holds no Caffe records"):
        LmdbSource(folder)


def test_a_damaged_record_is_named(tmp_path):
    folder = write_lmdb(tmp_path / "db", {b"a": raw_datum(picture(2, 2)), b"b_broken": b"junk"})
    dataset = DatasetSpec(str(folder), (image_input(3, 2, 2),)).open()
    with pytest.raises(UnreadableSample, match="b_broken") as caught:
        dataset.load(1)
    assert caught.value.index == 1


def test_one_database_may_be_open_twice_and_read_from_threads(tmp_path):
    folder = write_lmdb(tmp_path / "db", {b"%d" % i: raw_datum(picture(3, 3, i)) for i in range(9)})
    sources = [LmdbSource(folder), LmdbSource(folder)]
    read: dict[tuple[int, int], bytes] = {}

    def work(which: int) -> None:
        for index in range(9):
            read[which, index] = sources[which].stored(index)[0]

    threads = [Thread(target=work, args=(which,)) for which in (0, 1)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert all(read[0, i] == read[1, i] == raw_datum(picture(3, 3, i)) for i in range(9))


def test_a_database_built_anew_at_the_same_path_is_read_anew(tmp_path):
    folder = write_lmdb(tmp_path / "db", {b"a": raw_datum(picture(3, 3, 0))})
    assert LmdbSource(folder).stored(0) == (raw_datum(picture(3, 3, 0)),)
    folder.rename(tmp_path / "old")
    write_lmdb(folder, {b"a": raw_datum(picture(3, 3, 1))})
    assert LmdbSource(folder).stored(0) == (raw_datum(picture(3, 3, 1)),)


def test_opening_leaves_the_folder_as_it_was(tmp_path):
    folder = write_lmdb(tmp_path / "db", {b"a": raw_datum(picture(3, 3))})
    (folder / "lock.mdb").unlink()
    LmdbSource(folder).stored(0)
    assert [entry.name for entry in folder.iterdir()] == ["data.mdb"]


def test_an_empty_database_has_no_samples(tmp_path):
    assert len(LmdbSource(write_lmdb(tmp_path / "db", {}))) == 0


def test_an_annotated_record_is_its_picture_and_its_boxes(tmp_path):
    annotated = annotated_datum(raw_datum(picture(4, 6), -1), {7: [(0, 0.25, 0.5, 1, False)]})
    write_lmdb(tmp_path / "db", {b"0": annotated, b"1": raw_datum(picture(4, 6), 3)})
    dataset = DatasetSpec(str(tmp_path / "db"), (image_input(3, 4, 6),)).open()
    np.testing.assert_array_equal(dataset.load(0).inputs["data"], dataset.load(1).inputs["data"])
    assert dataset.boxes(0) == (Box(7, 0.0, 0.25, 0.5, 1.0),)
    assert dataset.boxes(1) == ()
    assert [dataset.label(index) for index in range(2)] == [None, 3]
