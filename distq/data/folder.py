"""A folder of images, or of arrays with one sample a file."""

from __future__ import annotations

import os
from pathlib import Path, PurePosixPath

from distq.data.array_files import ARRAY_EXTENSIONS, is_array, is_npz, read_arrays
from distq.data.packed import PackedBytes
from distq.data.samples import IMAGE_EXTENSIONS, ImageFile, Item
from distq.errors import DataError
from distq.regular import read_regular

_EXTENSIONS = IMAGE_EXTENSIONS | ARRAY_EXTENSIONS


class FolderSource:
    """Every image below a folder, sorted by the bytes of its relative path; linked folders are followed.

    Where there is no image, every .npy and .npz. Hidden files and folders, whose name starts with a dot, are
    left out: macOS writes ``._name.png`` beside ``name.png``.

    Attributes:
        hidden: How many hidden images and arrays were left out.
    """

    kind = "folder"

    def __init__(self, folder: Path, names: tuple[str, ...] | None = None) -> None:
        """List the files.

        Args:
            folder: Where they are.
            names: The model's inputs in order; None when there is no model.

        Raises:
            DataError: the folder cannot be read.
        """
        self._folder = folder
        self._inputs = names
        files, self.hidden = _list_files(folder)
        self._names = [name for name in files if not is_array(name)] or files

    def __len__(self) -> int:
        return len(self._names)

    @property
    def holds_all_inputs(self) -> bool:
        """Whether each file has an array for every input of a model."""
        return bool(self._names) and all(map(is_npz, self._names))

    def name(self, index: int) -> str:  # noqa: D102  # as in Source
        return self._names[index]

    def aliases(self, index: int) -> tuple[str, ...]:  # noqa: D102  # as in Source
        return self._names[index], PurePosixPath(self._names[index]).name

    def label(self, index: int) -> None:  # noqa: D102, ARG002  # as in Source
        return None

    def read(self, index: int) -> tuple[Item, ...]:  # noqa: D102  # as in Source
        path = self._folder / self._names[index]
        return read_arrays(path, self._inputs) if is_array(path) else (ImageFile(path),)

    def stored(self, index: int) -> tuple[bytes, ...]:  # noqa: D102  # as in Source
        return (read_regular(self._folder / self._names[index]),)

    def names_sha256(self) -> str:  # noqa: D102  # as in Source
        return PackedBytes(map(os.fsencode, self._names)).sha256()

    def stored_size(self, index: int) -> int:
        """Bytes of a sample's file; 0 where it cannot be read."""
        return file_size(self._folder / self._names[index])


def file_size(path: Path) -> int:
    """Bytes of a file, 0 where there is none."""
    try:
        return path.stat().st_size
    except (OSError, ValueError):
        return 0


def _list_files(folder: Path) -> tuple[list[str], int]:
    """Relative paths of all images and arrays, sorted, and how many hidden ones there are beside them."""

    def refuse(error: OSError) -> None:
        raise DataError(f"folder {error.filename} cannot be read: {error.strerror}") from None

    names: list[str] = []
    hidden = 0
    seen: set[tuple[int, int]] = set()  # a link may lead back up
    for place, folders, files in os.walk(folder, onerror=refuse, followlinks=True):
        status = Path(place).stat()
        if (status.st_dev, status.st_ino) in seen:
            folders.clear()
            continue
        seen.add((status.st_dev, status.st_ino))
        hidden += sum(_samples_below(Path(place) / name) for name in folders if _is_hidden(name))
        hidden += sum(_is_sample(name) for name in files if _is_hidden(name))
        folders[:] = sorted((name for name in folders if not _is_hidden(name)), key=os.fsencode)
        below = Path(place).relative_to(folder)
        names += [(below / name).as_posix() for name in files if _is_sample(name) and not _is_hidden(name)]
    return sorted(names, key=os.fsencode), hidden


def _samples_below(folder: Path) -> int:
    return sum(_is_sample(name) for _, _, files in os.walk(folder) for name in files)


def _is_sample(name: str) -> bool:
    return PurePosixPath(name).suffix.lower() in _EXTENSIONS


def _is_hidden(name: str) -> bool:
    return name.startswith(".")
