"""A folder of images."""

from __future__ import annotations

import os
from pathlib import Path, PurePosixPath

from distq.data.packed import PackedBytes
from distq.data.samples import IMAGE_EXTENSIONS, ImageFile, Item
from distq.errors import DataError


class FolderSource:
    """Every image below a folder, sorted by the bytes of its relative path; linked folders are followed."""

    kind = "folder"

    def __init__(self, folder: Path) -> None:
        """List the images.

        Raises:
            DataError: the folder cannot be read.
        """
        self._folder = folder
        self._names = _list_images(folder)

    def __len__(self) -> int:
        return len(self._names)

    def name(self, index: int) -> str:  # noqa: D102  # as in Source
        return self._names[index]

    def aliases(self, index: int) -> tuple[str, ...]:  # noqa: D102  # as in Source
        return self._names[index], PurePosixPath(self._names[index]).name

    def label(self, index: int) -> None:  # noqa: D102, ARG002  # as in Source
        return None

    def read(self, index: int) -> tuple[Item, ...]:  # noqa: D102  # as in Source
        return (ImageFile(self._folder / self._names[index]),)

    def stored(self, index: int) -> tuple[bytes, ...]:  # noqa: D102  # as in Source
        return ((self._folder / self._names[index]).read_bytes(),)

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


def _list_images(folder: Path) -> list[str]:
    def refuse(error: OSError) -> None:
        raise DataError(f"folder {error.filename} cannot be read: {error.strerror}") from None

    names: list[str] = []
    seen: set[tuple[int, int]] = set()  # a link may lead back up
    for place, folders, files in os.walk(folder, onerror=refuse, followlinks=True):
        status = Path(place).stat()
        if (status.st_dev, status.st_ino) in seen:
            folders.clear()
            continue
        seen.add((status.st_dev, status.st_ino))
        folders.sort(key=os.fsencode)
        below = Path(place).relative_to(folder)
        names += [
            (below / file).as_posix() for file in files if Path(file).suffix.lower() in IMAGE_EXTENSIONS
        ]
    return sorted(names, key=os.fsencode)
