"""Which kind of source a path is."""

from __future__ import annotations

from pathlib import Path

from distq.data.arrays import open_npy, open_npz
from distq.data.caffe_lmdb import LmdbSource
from distq.data.folder import FolderSource
from distq.data.recorded import RecordedSource, is_recorded
from distq.data.samples import Source
from distq.data.text_list import TextListSource
from distq.errors import DataError
from distq.urls import url_of, why_unusable


def open_source(path: Path, input_names: tuple[str, ...] | None, root: Path | None = None) -> Source:
    """Open a folder, LMDB folder (it has ``data.mdb``), .npz, .npy, or a text list (any other file).

    A folder holds images, arrays with one sample a file, or what :mod:`distq.data.recorded` wrote.

    Args:
        path: The source; the last three also as a URL.
        input_names: The model's inputs in order; None when there is no model.
        root: Where relative paths of a text list start; None is its own folder.

    Raises:
        DataError: the path is missing, damaged, or does not fit these inputs.
    """
    reason = why_unusable(path)
    if reason is not None:
        raise DataError(f"data {path}: {reason}")
    if path.is_dir():
        return _open_folder(path, input_names)
    if url_of(path) is None:
        if not path.exists():
            raise DataError(
                f"data {path} does not exist: give a folder, text list, LMDB folder, .npz or .npy"
            )
        if not path.is_file():
            raise DataError(f"data {path} is no regular file: save what it gives to one")
    suffix = path.suffix.lower()
    if suffix == ".npz":
        return open_npz(path, input_names)
    if suffix == ".npy":
        return open_npy(path, input_names)
    return TextListSource(path, input_names, root)


def _open_folder(path: Path, input_names: tuple[str, ...] | None) -> Source:
    if is_recorded(path):
        return RecordedSource(path, input_names)
    lmdb = (path / "data.mdb").exists()
    if not lmdb and _is_leveldb(path):
        raise DataError(
            f"folder {path} is a LevelDB, which is not read: make an LMDB of the same images with "
            "'distq dataset build'"
        )
    source = LmdbSource(path) if lmdb else FolderSource(path, input_names)
    if input_names is not None and len(input_names) != 1 and not source.holds_all_inputs:
        raise DataError(
            f"folder {path} gives one input, the model has {len(input_names)}: use a text list, an .npz, "
            "or a folder of .npz with one sample each"
        )
    return source


def _is_leveldb(folder: Path) -> bool:
    """Whether it has the two files that every LevelDB has."""
    return (folder / "CURRENT").exists() and any(folder.glob("MANIFEST-*"))
