"""A text list: ``path[,path...][ label]`` per line."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

import numpy as np

from distq.data.folder import file_size
from distq.data.packed import PackedBytes
from distq.data.samples import ImageFile, Item, UnreadableSample, Values
from distq.errors import DataError

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
        with path.open(encoding="utf-8-sig", newline="\n") as stream:
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


def _no_list(path: Path) -> DataError:
    return DataError(f"{path} is no UTF-8 text list, image folder, LMDB folder, .npz or .npy")


def split_label(entry: str) -> tuple[str, int | None]:
    """Split ``name label`` at the last blank; None where what follows it is no integer."""
    match = _LABEL.search(entry)
    return (entry[: match.start()], int(match[1])) if match else (entry, None)


class TextListSource:
    """The lines of a list, in their order; relative paths start at the list's folder."""

    kind = "list"

    def __init__(self, path: Path, inputs: int | None) -> None:
        """Read the list; no file in it is touched.

        Args:
            path: The list.
            inputs: How many inputs the model has; None takes the first line's number.

        Raises:
            DataError: the list cannot be read, or a line has another number of inputs (its number is named).
        """
        self._folder = path.absolute().parent
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
        return tuple(_item(path) for path in self._paths(index))

    def stored(self, index: int) -> tuple[bytes, ...]:  # noqa: D102  # as in Source
        return tuple(path.read_bytes() for path in self._paths(index))

    def names_sha256(self) -> str:  # noqa: D102  # as in Source
        return self._entries.sha256()

    def stored_size(self, index: int) -> int:
        """Bytes of a sample's files; 0 where they cannot be read."""
        return sum(file_size(path) for path in self._paths(index))

    def _names(self, index: int) -> list[str]:
        return [part.strip(_BLANKS) for part in split_label(self._entries[index].decode())[0].split(",")]

    def _paths(self, index: int) -> list[Path]:
        return [self._folder / name for name in self._names(index)]


def _checked_lines(path: Path, inputs: int | None) -> Iterator[str]:
    for number, entry in read_lines(path):
        found = entry.count(",") + 1
        inputs = inputs or found
        if found != inputs:
            raise DataError(
                f"{path} line {number} has {found} inputs, the model has {inputs}: "
                "separate them by commas, in the model's order"
            )
        if inputs > 1 and not all(part.strip(_BLANKS) for part in split_label(entry)[0].split(",")):
            raise DataError(f"{path} line {number} has an empty path: give one path per input")
        yield entry


def _item(path: Path) -> Item:
    if path.suffix.lower() != ".npy":
        return ImageFile(path)
    try:
        with path.open("rb") as stream:
            return Values(np.lib.format.read_array(stream, allow_pickle=False))
    except (OSError, ValueError, EOFError) as error:
        reason = " ".join(str(getattr(error, "strerror", None) or error).split())
        raise UnreadableSample(f"array {path} cannot be read: {reason}") from None
