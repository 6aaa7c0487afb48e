"""Samples recorded from Python: arrays in .npz files, with an index, that workers read like any data.

A folder of recorded samples has files ``00000.npz`` and so on, whose key ``12/images`` is the input
``images`` of sample 12, and ``recorded.json``, which is written last: a folder without it was not finished.
"""

from __future__ import annotations

import io
import json
import zipfile
from bisect import bisect_right
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from itertools import accumulate
from pathlib import Path
from typing import Annotated, Any

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, TypeAdapter, ValidationError

from distq.data.samples import Item, Numbered, UnreadableSample, Values
from distq.errors import DataError
from distq.files import BROKEN_ARCHIVE, atomic_write, make_run_folder, sha256_bytes
from distq.regular import open_regular, read_regular

INDEX = "recorded.json"
FORMAT = "distq-recorded-1"

_MOST_SAMPLES, _MOST_BYTES = 64, 32 << 20
"""Of a file. So much is held in memory while recording, and a file with many members is slow to open."""


@dataclass(frozen=True)
class _Shard:
    file: Annotated[str, Field(pattern=r"^[0-9]+\.npz$")]
    samples: Annotated[int, Field(ge=1)]
    sha256: str


@dataclass(frozen=True)
class _Index:
    format: str
    inputs: tuple[str, ...]
    shards: tuple[_Shard, ...]


_INDEX = TypeAdapter(_Index)


def is_recorded(folder: Path) -> bool:
    """Whether a folder holds recorded samples, all of them."""
    return (folder / INDEX).is_file()


class Recorder:
    """Writes samples into a folder, some dozens a file, as they come."""

    def __init__(self, folder: Path) -> None:
        """Begin anew: what an earlier recording left in the folder is removed.

        Raises:
            UsageError: the folder cannot be made.
            ExecutionError: the disk is full.
        """
        make_run_folder(folder)
        self.folder = folder
        self.count = 0
        self._inputs: tuple[str, ...] = ()
        self._shards: list[_Shard] = []
        self._pending: dict[str, NDArray[Any]] = {}
        self._first = 0  # of the samples that are pending
        (folder / INDEX).unlink(missing_ok=True)
        for left in folder.glob("[0-9]*.npz"):
            left.unlink()

    def add(self, arrays: Mapping[str, NDArray[Any]]) -> None:
        """One sample more: an array per input, in the same order of inputs every time.

        Raises:
            ExecutionError: the disk is full.
        """
        self._inputs = tuple(arrays)
        # a copy: who made the arrays may write into them again
        self._pending |= {f"{self.count}/{name}": np.array(array) for name, array in arrays.items()}
        self.count += 1
        size = sum(array.nbytes for array in self._pending.values())
        if self.count - self._first >= _MOST_SAMPLES or size >= _MOST_BYTES:
            self._write()

    def close(self) -> None:
        """Write what is left, then the index; from here on the folder is data.

        Raises:
            ExecutionError: the disk is full.
        """
        if self._pending:
            self._write()
        index = _Index(FORMAT, self._inputs, tuple(self._shards))
        atomic_write(self.folder / INDEX, (json.dumps(asdict(index), indent=1) + "\n").encode())

    def _write(self) -> None:
        stream = io.BytesIO()
        np.savez(stream, allow_pickle=False, **self._pending)
        data, name = stream.getvalue(), f"{len(self._shards):05}.npz"
        atomic_write(self.folder / name, data)
        self._shards.append(_Shard(name, self.count - self._first, sha256_bytes(data)))
        self._pending, self._first = {}, self.count


class RecordedSource(Numbered):
    """Samples of a folder that a :class:`Recorder` wrote; a sample's name is its number."""

    kind = "recorded"

    def __init__(self, folder: Path, names: tuple[str, ...] | None) -> None:
        """Read the index.

        Args:
            folder: Where they are.
            names: The model's inputs in order; None takes every input there is.

        Raises:
            DataError: the index is damaged, or of other inputs.
        """
        self._folder = folder
        try:
            index = _INDEX.validate_json(read_regular(folder / INDEX))
        except OSError as error:
            raise DataError(f"{folder / INDEX} cannot be read: {error.strerror}") from None
        except ValidationError:
            raise DataError(f"{folder / INDEX} is damaged: record the samples again") from None
        if index.format != FORMAT:
            raise DataError(f"{folder / INDEX} is of another version ({index.format}): record them again")
        if names is not None and index.shards and set(index.inputs) != set(names):
            raise DataError(
                f"{folder} has samples of inputs {', '.join(index.inputs)}, "
                f"the model's are {', '.join(names)}: record samples of this model"
            )
        self._inputs = names or index.inputs
        self._shards = index.shards
        self._ends = list(accumulate(shard.samples for shard in index.shards))

    def __len__(self) -> int:
        return self._ends[-1] if self._ends else 0

    def read(self, index: int) -> tuple[Item, ...]:  # noqa: D102  # as in Source
        return tuple(Values(array) for array in self.arrays(index).values())

    def arrays(self, index: int) -> dict[str, NDArray[Any]]:
        """The arrays of a sample by input.

        Raises:
            UnreadableSample: its file is missing or damaged.
        """
        parts = zip(self._inputs, self.stored(index), strict=True)
        with self._damage_named(index):
            return {
                name: np.lib.format.read_array(io.BytesIO(part), allow_pickle=False) for name, part in parts
            }

    def stored(self, index: int) -> tuple[bytes, ...]:
        """Each input's array as a .npy.

        Raises:
            UnreadableSample: its file is missing or damaged.
        """
        with (
            self._damage_named(index),
            open_regular(self._file(index)) as stream,
            zipfile.ZipFile(stream) as archive,
        ):
            return tuple(archive.read(f"{index}/{name}.npy") for name in self._inputs)

    def _file(self, index: int) -> Path:
        return self._folder / self._shards[bisect_right(self._ends, index)].file

    @contextmanager
    def _damage_named(self, index: int) -> Iterator[None]:
        try:
            yield
        except (OSError, KeyError, *BROKEN_ARCHIVE) as error:
            reason = " ".join(str(getattr(error, "strerror", None) or error).split())
            raise UnreadableSample(
                f"sample {index} in {self._file(index)} cannot be read: {reason}"
            ) from None

    def names_sha256(self) -> str:  # noqa: D102  # as in Source
        return sha256_bytes(repr((self._inputs, self._shards)).encode())

    def stored_bytes(self) -> int:
        """Size of all files with samples."""
        return sum((self._folder / shard.file).stat().st_size for shard in self._shards)
