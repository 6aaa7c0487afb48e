"""A truncated LMDB kills the process that maps it; the check must come first."""

from __future__ import annotations

import os

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
