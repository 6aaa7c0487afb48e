"""Which kind of source a path is."""

from __future__ import annotations

import numpy as np
import pytest
from data_helpers import picture, raw_datum, write_lmdb, write_picture

from distq.data.sniff import open_source
from distq.errors import DataError


def test_each_kind_is_recognised(tmp_path):
    write_picture(tmp_path / "photos" / "1.png", picture(2, 2))
    write_lmdb(tmp_path / "db", {b"a": raw_datum(picture(2, 2))})
    (tmp_path / "list.txt").write_text("photos/1.png\n")
    np.save(tmp_path / "x.npy", np.zeros((2, 3)))
    np.savez(tmp_path / "x.NPZ.npz", data=np.zeros((2, 3)))
    kinds = {"photos": "folder", "db": "lmdb", "list.txt": "list", "x.npy": "npy", "x.NPZ.npz": "npz"}
    for name, kind in kinds.items():
        assert open_source(tmp_path / name, ("data",)).kind == kind
        assert open_source(tmp_path / name, None).kind == kind


def test_a_missing_path_is_named(tmp_path):
    with pytest.raises(DataError, match="nowhere does not exist"):
        open_source(tmp_path / "nowhere", ("data",))


def test_folders_feed_models_of_one_input_only(tmp_path):
    write_lmdb(tmp_path / "db", {b"a": raw_datum(picture(2, 2))})
    for folder in (tmp_path, tmp_path / "db"):
        with pytest.raises(DataError, match=r"gives one input, the model has 2: use a text list"):
            open_source(folder, ("a", "b"))


def test_a_leveldb_is_named_with_the_remedy(tmp_path):
    for name in ("CURRENT", "MANIFEST-000004", "000005.ldb"):
        (tmp_path / name).write_bytes(b"")
    with pytest.raises(DataError, match=r"is a LevelDB, which is not read: make an LMDB .* dataset build"):
        open_source(tmp_path, None)
