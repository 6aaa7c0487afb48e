"""Arrays: .npz with one array per model input, or .npy for a model of one input."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from distq.data.remote import read_url
from distq.data.samples import Item, Numbered, Values
from distq.errors import DataError
from distq.files import BROKEN_ARCHIVE, sha256_bytes
from distq.memory import memory_limit, out_of_memory
from distq.urls import shown, url_of

_SHOWN = 5


class ArraySource(Numbered):
    """Samples along the leading axis of one array per input; a sample's name is its row."""

    def __init__(self, kind: Literal["npz", "npy"], arrays: dict[str, NDArray[Any]]) -> None:
        """Take arrays of equal length, in the model's order of inputs."""
        self.kind = kind
        self.arrays = arrays

    def __len__(self) -> int:
        return len(next(iter(self.arrays.values())))

    def read(self, index: int) -> tuple[Item, ...]:  # noqa: D102  # as in Source
        return tuple(Values(np.asarray(array[index])) for array in self.arrays.values())

    def stored(self, index: int) -> tuple[bytes, ...]:  # noqa: D102  # as in Source
        return tuple(np.asarray(array[index]).tobytes() for array in self.arrays.values())

    def names_sha256(self) -> str:  # noqa: D102  # as in Source
        facts = [(name, str(array.dtype), array.shape) for name, array in self.arrays.items()]
        return sha256_bytes(repr(facts).encode())


def open_npz(path: Path, names: tuple[str, ...] | None) -> ArraySource:
    """Load an .npz whose keys are input names.

    Args:
        path: The file, or its URL.
        names: The model's inputs in order; None takes every key.

    Raises:
        DataError: the file is damaged, a key is missing or unknown, or lengths differ.
    """
    url = url_of(path)
    try:
        loaded = np.load(path if url is None else io.BytesIO(read_url(url)), allow_pickle=False)
        if isinstance(loaded, np.ndarray):
            raise DataError(f"{shown(path)} is a single array: name it .npy, or save one array per input")
        with loaded as archive:
            check_keys(shown(path), archive.files, names)
            _require_memory(path, unpacked_size(archive))
            arrays = {name: archive[name] for name in names or archive.files}
    except MemoryError as error:
        raise DataError(out_of_memory(f"{shown(path)} cannot be read", error)) from None
    except (OSError, *BROKEN_ARCHIVE) as error:
        raise _damaged(path, error) from None
    if not arrays:
        raise DataError(f"{shown(path)} holds no arrays: save one per model input")
    for name, array in arrays.items():
        _check_rank(path, name, array)
    lengths = {name: len(array) for name, array in arrays.items()}
    if len(set(lengths.values())) > 1:
        facts = ", ".join(f"{name} {length}" for name, length in lengths.items())
        raise DataError(
            f"{shown(path)} holds different numbers of samples: {facts}: save equally many of each"
        )
    return ArraySource("npz", arrays)


def open_npy(path: Path, names: tuple[str, ...] | None) -> ArraySource:
    """Map an .npy into memory: samples are read from the disk as they are used; behind a URL, all at once.

    Raises:
        DataError: the file is damaged, or the model has several inputs.
    """
    if names is not None and len(names) != 1:
        raise DataError(
            f"{shown(path)} holds one input, the model has {len(names)} ({', '.join(names)}): "
            "save an .npz with these keys"
        )
    url = url_of(path)
    try:
        if url is None:
            array: NDArray[Any] = np.lib.format.open_memmap(path, mode="r")
        else:
            array = np.lib.format.read_array(io.BytesIO(read_url(url)), allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise _damaged(path, error) from None
    name = names[0] if names else "array"
    _check_rank(path, name, array)
    return ArraySource("npy", {name: array})


def unpacked_size(archive: np.lib.npyio.NpzFile) -> int:
    """Bytes of all arrays of an .npz; a few kilobytes of one can hold a terabyte of zeros."""
    return 0 if archive.zip is None else sum(int(entry.file_size) for entry in archive.zip.infolist())


def _require_memory(path: Path, size: int) -> None:
    """Refuse an .npz that is larger than the memory it is read into.

    Raises:
        DataError: saying both sizes.
    """
    most = memory_limit()
    if size > most:
        raise DataError(
            f"{shown(path)} holds {size / (1 << 30):.1f} GiB, and this process can have "
            f"{most / (1 << 30):.1f} GiB of memory: save an .npy, or a folder of .npz with one sample each"
        )


def check_keys(place: Path | str, keys: list[str], names: tuple[str, ...] | None) -> None:
    """Check that the keys of an .npz are the inputs it is for.

    Raises:
        DataError: naming both.
    """
    if names is not None and set(keys) != set(names):
        raise DataError(
            f"{place} has keys {', '.join(sorted(keys)[:_SHOWN]) or '(none)'}"
            f"{', ...' if len(keys) > _SHOWN else ''}, "
            f"the model's inputs are {', '.join(names)}: save one array per input under its name"
        )


def _check_rank(path: Path, name: str, array: NDArray[Any]) -> None:
    if array.ndim == 0:
        raise DataError(f"{shown(path)}: array {name!r} is a single number: give it a leading sample axis")


def _damaged(path: Path, error: Exception) -> DataError:
    reason = " ".join(str(getattr(error, "strerror", None) or error).split())
    return DataError(
        f"{shown(path)} cannot be read: {reason or type(error).__name__}; save it again as plain numbers"
    )
