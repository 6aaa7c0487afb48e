"""A truncated LMDB kills the process that maps it; the check must come first."""

from __future__ import annotations

import os
import struct

import pytest
from data_helpers import picture, raw_datum, write_lmdb
from hypothesis import given, settings
from hypothesis import strategies as st

from distq.data.caffe_lmdb import LmdbSource
from distq.data.lmdb_check import check_lmdb
from distq.errors import DataError


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """The bytes of a sound database of 40 records."""
    folder = tmp_path_factory.mktemp("whole") / "db"
    write_lmdb(folder, {b"%08d_x" % i: raw_datum(picture(20, 20, i)) for i in range(40)})
    return (folder / "data.mdb").read_bytes()


@pytest.fixture(scope="module")
def cut_folder(tmp_path_factory):
    return tmp_path_factory.mktemp("cut")


@settings(deadline=None)
@given(data=st.data())
def test_every_cut_is_refused_before_the_file_is_mapped(whole, cut_folder, data):
    # the file ends in whole used pages, so every shorter one lacks something
    cut = data.draw(st.integers(0, len(whole) - 1))
    (cut_folder / "data.mdb").write_bytes(whole[:cut])
    with pytest.raises(DataError, match=r"data\.mdb"):
        LmdbSource(cut_folder)


def test_a_whole_database_passes(whole, tmp_path):
    (tmp_path / "data.mdb").write_bytes(whole)
    check_lmdb(tmp_path)
    assert len(LmdbSource(tmp_path)) == 40


def test_the_newer_of_the_two_meta_pages_counts(tmp_path):
    folder = write_lmdb(tmp_path / "db", {b"a": b"x" * 5000})
    write_lmdb(folder, {b"b": b"y" * 50_000})  # the second transaction writes the other meta page
    path = folder / "data.mdb"
    check_lmdb(folder)
    os.truncate(path, path.stat().st_size - 4096)
    with pytest.raises(DataError, match=r"is truncated: \d+ bytes of \d+"):
        check_lmdb(folder)


@pytest.mark.parametrize("content", [b"", b"not a database at all" * 1000, bytes(8192)])
def test_a_foreign_file_is_refused(tmp_path, content):
    (tmp_path / "data.mdb").write_bytes(content)
    with pytest.raises(DataError, match="no LMDB"):
        check_lmdb(tmp_path)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(DataError, match=r"data\.mdb cannot be read"):
        check_lmdb(tmp_path)


@pytest.mark.parametrize(
    ("offset", "value", "reason"),
    [
        (0, 7, "another's number"),
        (10, 1, "of another kind"),
        (12, 15, "counts its nodes wrong"),
        (12, 60_000, "counts its nodes wrong"),
        (16, 65_000, "lies outside its page"),
        (16, 8, "lies outside its page"),
    ],
)
def test_a_page_that_would_kill_the_process_is_refused(tmp_path, offset, value, reason):
    folder = write_lmdb(tmp_path / "db", {b"a": raw_datum(picture(3, 3))})
    content = bytearray((folder / "data.mdb").read_bytes())
    root = struct.unpack_from("<Q", content, 4096 + 128)[0]  # the second transaction's meta page
    struct.pack_into("<H", content, 4096 * root + offset, value)
    (folder / "data.mdb").write_bytes(content)
    with pytest.raises(DataError, match=reason):
        LmdbSource(folder)


def test_a_value_longer_than_its_pages_is_refused(tmp_path):
    folder = write_lmdb(tmp_path / "db", {b"a": raw_datum(picture(80, 80))})
    content = bytearray((folder / "data.mdb").read_bytes())
    root = struct.unpack_from("<Q", content, 4096 + 128)[0]
    node = 4096 * root + struct.unpack_from("<H", content, 4096 * root + 16)[0]
    struct.pack_into("<H", content, node + 2, 9_000)  # the high half of its size
    (folder / "data.mdb").write_bytes(content)
    with pytest.raises(DataError, match="a value is longer than its pages"):
        LmdbSource(folder)


@settings(deadline=None, max_examples=30)
@given(sizes=st.lists(st.integers(1, 70), min_size=1, max_size=120))
def test_every_sound_database_passes(tmp_path_factory, sizes):
    folder = tmp_path_factory.mktemp("sound") / "db"
    write_lmdb(folder, {b"%05d" % i: raw_datum(picture(size, size)) for i, size in enumerate(sizes)})
    assert len(LmdbSource(folder)) == len(sizes)
