"""A text list: ``path[,path...][ label]`` per line."""

from __future__ import annotations

import io
import re
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import BinaryIO, TextIO

import numpy as np

from distq.data.folder import file_size
from distq.data.packed import PackedBytes
from distq.data.remote import read_url, url_size
from distq.data.samples import ImageBytes, ImageFile, Item, UnreadableSample, Values
from distq.errors import DataError
from distq.urls import shown, url_of

_LABEL = re.compile(r"[ \t]+(-?[0-9]{1,9})$")
_COMMENT = re.compile(r"(?:^|[ \t])#")
_BLANKS = " \t\r\n"


def read_lines(path: Path) -> Iterator[tuple[int, str]]:
    """Lines of a UTF-8 text file with their numbers from 1, without comments and empty lines.

    ``#`` starts a comment at the start of a line or after a blank, so that a path may hold one.

    Raises:
        DataError: the file is missing or no text.
    """
    try:
        with _open_text(path) as stream:
            for number, line in enumerate(stream, 1):
                if "\0" in line:
                    raise _no_list(path)
                entry = line.strip(_BLANKS)
                if "#" in entry:
                    comment = _COMMENT.search(entry)
                    entry = entry[: comment.start()].rstrip(_BLANKS) if comment else entry
                if entry:
                    yield number, entry
    except OSError as error:
        raise DataError(f"list {path} cannot be read: {error.strerror}") from None
    except UnicodeDecodeError:
        raise _no_list(path) from None


def _open_text(path: Path) -> TextIO:
    url = url_of(path)
    if url is None:
        return path.open(encoding="utf-8-sig", newline="\n")
    return io.TextIOWrapper(io.BytesIO(read_url(url)), encoding="utf-8-sig", newline="\n")


def _no_list(path: Path) -> DataError:
    return DataError(f"{shown(path)} is no UTF-8 text list, image folder, LMDB folder, .npz or .npy")


def split_label(entry: str) -> tuple[str, int | None]:
    """Split ``name label`` at the last blank; None where what follows it is no integer."""
    match = _LABEL.search(entry)
    return (entry[: match.start()], int(match[1])) if match else (entry, None)


class TextListSource:
    """The lines of a list, in their order; relative paths start at the list's folder, which may be a URL."""

    kind = "list"

    def __init__(self, path: Path, inputs: int | None) -> None:
        """Read the list; no file in it is touched.

        Args:
            path: The list.
            inputs: How many inputs the model has; None takes the first line's number.

        Raises:
            DataError: the list cannot be read, or a line has another number of inputs (its number is named).
        """
        url = url_of(path)
        self._folder = path.absolute().parent if url is None else url.rpartition("/")[0]
        self._entries = PackedBytes(entry.encode() for entry in _checked_lines(path, inputs))

    def __len__(self) -> int:
        return len(self._entries)

    def name(self, index: int) -> str:  # noqa: D102  # as in Source
        return ",".join(self._names(index))

    def aliases(self, index: int) -> tuple[str, ...]:  # noqa: D102  # as in Source
        first = self._names(index)[0]
        return self.name(index), first, PurePosixPath(first).name

    def label(self, index: int) -> int | None:  # noqa: D102  # as in Source
        return split_label(self._entries[index].decode())[1]

    def read(self, index: int) -> tuple[Item, ...]:  # noqa: D102  # as in Source
        return tuple(_item(place) for place in self._places(index))

    def stored(self, index: int) -> tuple[bytes, ...]:  # noqa: D102  # as in Source
        return tuple(p.read_bytes() if isinstance(p, Path) else read_url(p) for p in self._places(index))

    def names_sha256(self) -> str:  # noqa: D102  # as in Source
        return self._entries.sha256()

    def stored_size(self, index: int) -> int:
        """Bytes of a sample's files; 0 where they cannot be read."""
        return sum(file_size(p) if isinstance(p, Path) else url_size(p) for p in self._places(index))

    def _names(self, index: int) -> list[str]:
        return [part.strip(_BLANKS) for part in split_label(self._entries[index].decode())[0].split(",")]

    def _places(self, index: int) -> list[Path | str]:
        """Where each input's file is: a path here, or a URL."""
        return [_place(self._folder, name) for name in self._names(index)]


def _place(folder: Path | str, name: str) -> Path | str:
    if "://" in name:
        return url_of(name) or name
    if isinstance(folder, Path):
        return folder / name
    return Path(name) if name.startswith("/") else f"{folder}/{name}"


def _checked_lines(path: Path, inputs: int | None) -> Iterator[str]:
    for number, entry in read_lines(path):
        found = entry.count(",") + 1
        inputs = inputs or found
        if found != inputs:
            raise DataError(
                f"{shown(path)} line {number} has {found} inputs, the model has {inputs}: "
                "separate them by commas, in the model's order"
            )
        if inputs > 1 and not all(part.strip(_BLANKS) for part in split_label(entry)[0].split(",")):
            raise DataError(f"{shown(path)} line {number} has an empty path: give one path per input")
        yield entry


def _item(place: Path | str) -> Item:
    if PurePosixPath(place).suffix.lower() != ".npy":
        return ImageFile(place) if isinstance(place, Path) else ImageBytes(read_url(place))
    try:
        with _open_binary(place) as stream:
            return Values(np.lib.format.read_array(stream, allow_pickle=False))
    except (OSError, ValueError, EOFError) as error:
        reason = " ".join(str(getattr(error, "strerror", None) or error).split())
        raise UnreadableSample(f"array {place} cannot be read: {reason}") from None


def _open_binary(place: Path | str) -> BinaryIO:
    return place.open("rb") if isinstance(place, Path) else io.BytesIO(read_url(place))
