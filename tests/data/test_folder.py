"""Folders of images as a source."""

from __future__ import annotations

import pytest
from data_helpers import picture, write_picture

from distq.data.folder import FolderSource
from distq.errors import DataError


def names(source):
    return [source.name(i) for i in range(len(source))]


def test_the_order_is_that_of_path_bytes_whatever_the_file_system_says(tmp_path):
    made = ["b/2.png", "b/10.png", "a.png", "Z.PNG", "ä.png", "b.png", "a b/x.jpg", "日本/1.jpeg"]
    for name in made:
        write_picture(tmp_path / name, picture(2, 2))
    (tmp_path / "notes.txt").write_text("no image")
    assert names(FolderSource(tmp_path)) == sorted(made, key=lambda name: name.encode())


def test_linked_folders_are_followed_once(tmp_path):
    write_picture(tmp_path / "real" / "x.png", picture(2, 2))
    (tmp_path / "top").mkdir()
    (tmp_path / "top" / "link").symlink_to(tmp_path / "real")
    (tmp_path / "top" / "loop").symlink_to(tmp_path / "top")
    assert names(FolderSource(tmp_path / "top")) == ["link/x.png"]


def test_a_sample_may_be_called_by_path_or_file_name(tmp_path):
    write_picture(tmp_path / "cat" / "1.png", picture(2, 2))
    assert FolderSource(tmp_path).aliases(0) == ("cat/1.png", "1.png")


def test_hidden_files_and_folders_are_left_out_and_counted(tmp_path):
    for name in ("a.png", "._a.png", "sub/b.png", "sub/.b.png", ".cache/c.png", ".cache/deep/d.npy"):
        write_picture(tmp_path / name.replace(".npy", ".png"), picture(2, 2))
    (tmp_path / ".DS_Store").write_bytes(b"no image")
    (tmp_path / ".all").symlink_to(tmp_path / "sub")
    source = FolderSource(tmp_path)
    assert (names(source), source.hidden) == (["a.png", "sub/b.png"], 6)
    assert names(FolderSource(tmp_path / ".cache")) == ["c.png", "deep/d.png"]


def test_a_file_that_vanished_has_size_zero(tmp_path):
    write_picture(tmp_path / "1.png", picture(2, 2))
    source = FolderSource(tmp_path)
    assert source.stored_size(0) == len(source.stored(0)[0])
    (tmp_path / "1.png").unlink()
    assert source.stored_size(0) == 0


def test_a_folder_that_cannot_be_listed_is_an_error_not_an_empty_one(tmp_path):
    (tmp_path / "file").write_text("no folder")
    with pytest.raises(DataError, match="file cannot be read: Not a directory"):
        FolderSource(tmp_path / "file")
