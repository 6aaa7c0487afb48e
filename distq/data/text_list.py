r"""A text list: ``path[,path...][ label]`` per line.

A path may hold a comma: for a model of one input as it is, for one of several as ``\,``.
"""

from __future__ import annotations

import io
import re
from collections.abc import Iterator
from functools import partial
from itertools import islice
from pathlib import Path, PurePosixPath
from typing import TextIO

from distq.data.array_files import is_array, is_npz, read_arrays
from distq.data.folder import file_size
from distq.data.packed import PackedBytes
from distq.data.remote import read_url, url_size
from distq.data.samples import IMAGE_EXTENSIONS, ImageBytes, ImageFile, Item
from distq.errors import DataError
from distq.regular import open_regular, read_regular
from distq.urls import shown, url_of

_LABEL = re.compile(r"[ \t]+(-?[0-9]{1,9})$")
_COMMENT = re.compile(r"(?:^|[ \t])#")
_BLANKS = " \t\r\n"
_COMMA = re.compile(r"(?<!\\),")
_LONGEST_LINE = 1 << 16  # sixteen of the longest paths; a binary file may have no line end at all
_COMMAS = "write a comma that belongs to a name as '\\,'"


def read_lines(path: Path) -> Iterator[tuple[int, str]]:
    """Lines of a UTF-8 text file with their numbers from 1, without comments and empty lines.

    ``#`` starts a comment at the start of a line or after a blank, so that a path may hold one.

    Raises:
        DataError: the file is missing or no text.
    """
    for number, line in raw_lines(path):
        entry = line
        if "#" in entry:
            comment = _COMMENT.search(entry)
            entry = entry[: comment.start()].rstrip(_BLANKS) if comment else entry
        if entry:
            yield number, entry


def raw_lines(path: Path) -> Iterator[tuple[int, str]]:
    """All lines of a UTF-8 text file with their numbers from 1, without the blanks around them.

    Raises:
        DataError: the file is missing or no text.
    """
    try:
        with _open_text(path) as stream:
            lines = iter(partial(stream.readline, _LONGEST_LINE), "")
            for number, line in enumerate(lines, 1):
                if "\0" in line or len(line) == _LONGEST_LINE:
                    raise _no_list(path)
                yield number, line.strip(_BLANKS)
    except OSError as error:
        raise DataError(f"list {path} cannot be read: {error.strerror}; give a text file") from None
    except UnicodeDecodeError:
        raise _no_list(path) from None


def _open_text(path: Path) -> TextIO:
    url = url_of(path)
    if url is None:
        return io.TextIOWrapper(open_regular(path), encoding="utf-8-sig", newline="\n")
    return io.TextIOWrapper(io.BytesIO(read_url(url)), encoding="utf-8-sig", newline="\n")


def _no_list(path: Path) -> DataError:
    remedy = "the folder that holds it" if path.suffix.lower() in IMAGE_EXTENSIONS else "one"
    return DataError(
        f"{shown(path)} is no UTF-8 text list, image folder, LMDB folder, .npz or .npy: give {remedy}"
    )


def split_label(entry: str) -> tuple[str, int | None]:
    """Split ``name label`` at the last blank; None where what follows it is no integer."""
    match = _LABEL.search(entry)
    return (entry[: match.start()], int(match[1])) if match else (entry, None)


class TextListSource:
    """The lines of a list, in their order.

    Relative paths start at the list's folder, which may be a URL, or at ``root``.
    """

    kind = "list"

    def __init__(self, path: Path, names: tuple[str, ...] | None, root: Path | None = None) -> None:
        """Read the list; no file in it is opened.

        Args:
            path: The list.
            names: The model's inputs in order; None when there is no model: the first line says how many.
            root: Where relative paths start, instead of the list's folder.

        Raises:
            DataError: the list cannot be read, or a line has another number of inputs (its number is named).
        """
        url = url_of(path)
        self._list = path
        folder = path.absolute().parent if url is None else url.rpartition("/")[0]
        self._folder = folder if root is None else root
        self._inputs = names
        self._count = None if names is None else len(names)
        self._entries = PackedBytes(entry.encode() for entry in self._checked_lines(path))

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
        places, inputs = self._places(index), self._inputs
        if len(places) == 1:
            return _items(places[0], inputs)
        names = [None] * len(places) if inputs is None else [(name,) for name in inputs]
        return tuple(item for place, name in zip(places, names, strict=True) for item in _items(place, name))

    def stored(self, index: int) -> tuple[bytes, ...]:  # noqa: D102  # as in Source
        return tuple(read_regular(p) if isinstance(p, Path) else read_url(p) for p in self._places(index))

    def names_sha256(self) -> str:  # noqa: D102  # as in Source
        return self._entries.sha256()

    def stored_size(self, index: int) -> int:
        """Bytes of a sample's files; 0 where they cannot be read."""
        return sum(file_size(p) if isinstance(p, Path) else url_size(p) for p in self._places(index))

    def line(self, index: int) -> str:
        """Where a sample is listed, for a person: ``list.txt line 3``."""
        number, _ = next(islice(read_lines(self._list), index, None))
        return f"{shown(self._list)} line {number}"

    def _names(self, index: int) -> list[str]:
        return self._paths_of(split_label(self._entries[index].decode())[0])

    def _paths_of(self, text: str) -> list[str]:
        """The paths of a line without its label."""
        if self._count != 1 or "," not in text:
            return _split_paths(text)
        return [text] if "\\," not in text or self._exists(text) else [text.replace("\\,", ",")]

    def _exists(self, name: str) -> bool:
        """Whether a name is that of a file; behind a URL it is taken for one."""
        place = _place(self._folder, name)
        try:
            return not isinstance(place, Path) or place.exists()
        except OSError:  # a name longer than any file's, or a folder that must not be read
            return False

    def _checked_lines(self, path: Path) -> Iterator[str]:
        for number, entry in read_lines(path):
            text = split_label(entry)[0]
            paths = _split_paths(text)
            found = len(paths)
            if found == 1 and is_npz(paths[0]):  # it has all inputs
                yield entry
                continue
            if found > 1 and self._count in {None, 1} and self._exists(text):
                found = 1
            self._count = self._count or found
            if found != self._count:
                commas = f"no file is called {text!r}" if self._count == 1 else _COMMAS
                raise DataError(
                    f"{shown(path)} line {number} has {found} inputs, the model has {self._count}: "
                    f"separate them by commas, in the model's order; {commas}"
                )
            if self._count > 1 and not all(paths):
                raise DataError(f"{shown(path)} line {number} has an empty path: give one path per input")
            yield entry

    def _places(self, index: int) -> list[Path | str]:
        """Where each input's file is: a path here, or a URL."""
        return [_place(self._folder, name) for name in self._names(index)]


def _place(folder: Path | str, name: str) -> Path | str:
    if "://" in name:
        return url_of(name) or name
    if isinstance(folder, Path):
        return folder / name
    return Path(name) if name.startswith("/") else f"{folder}/{name}"


def _split_paths(text: str) -> list[str]:
    """Split at commas, but for those behind a backslash."""
    if "," not in text:
        return [text.strip(_BLANKS)]
    return [part.strip(_BLANKS).replace("\\,", ",") for part in _COMMA.split(text)]


def _items(place: Path | str, names: tuple[str, ...] | None) -> tuple[Item, ...]:
    if is_array(place):
        return read_arrays(place, names)
    return (ImageFile(place) if isinstance(place, Path) else ImageBytes(read_url(place)),)
