"""Files that hold one sample: an .npy has one input, an .npz one array per input."""

from __future__ import annotations

import io
import posixpath
from pathlib import Path
from typing import BinaryIO

import numpy as np

from distq.data.arrays import check_keys, unpacked_size
from distq.data.remote import read_url
from distq.data.samples import UnreadableSample, Values
from distq.errors import DataError
from distq.files import BROKEN_ARCHIVE
from distq.memory import out_of_memory
from distq.regular import open_regular, require_size

ARRAY_EXTENSIONS = frozenset({".npy", ".npz"})
"""Which files hold an array (compared in lower case)."""


def is_array(name: Path | str) -> bool:
    """Whether a file holds arrays, by its name."""
    return _suffix(name) in ARRAY_EXTENSIONS


def is_npz(name: Path | str) -> bool:
    """Whether a file holds several arrays, each under a key, by its name."""
    return _suffix(name) == ".npz"


def _suffix(name: Path | str) -> str:
    """As that of a path; a list of a million names asks for each."""
    return posixpath.splitext(str(name))[1].lower()


def read_arrays(place: Path | str, names: tuple[str, ...] | None) -> tuple[Values, ...]:
    """Read a file of one sample.

    Args:
        place: A path, or a URL; its name ends in .npy or .npz.
        names: The inputs it is for, in the model's order; None takes every key.

    Returns:
        One array per input.

    Raises:
        UnreadableSample: it is missing, damaged, or no regular file.
        DataError: it does not hold exactly these inputs.
    """
    if not is_npz(place) and names is not None and len(names) != 1:
        raise DataError(
            f"{place} holds one input, the model has {len(names)} ({', '.join(names)}): "
            "save an .npz with these keys"
        )
    try:
        with _open_binary(place) as stream:
            require_size(Path(place), stream.seek(0, io.SEEK_END))
            stream.seek(0)
            if not is_npz(place):
                return (Values(np.lib.format.read_array(stream, allow_pickle=False)),)
            loaded = np.load(stream, allow_pickle=False)
            if isinstance(loaded, np.ndarray):
                raise DataError(f"{place} is a single array: name it .npy, or save one array per input")
            with loaded as archive:
                check_keys(place, archive.files, names)
                require_size(Path(place), unpacked_size(archive))
                return tuple(Values(archive[name]) for name in names or archive.files)
    except MemoryError as error:
        raise UnreadableSample(out_of_memory(f"array {place} cannot be read", error)) from None
    except (OSError, *BROKEN_ARCHIVE) as error:
        reason = " ".join(str(getattr(error, "strerror", None) or error).split())
        raise UnreadableSample(f"array {place} cannot be read: {reason or type(error).__name__}") from None


def _open_binary(place: Path | str) -> BinaryIO:
    return open_regular(place) if isinstance(place, Path) else io.BytesIO(read_url(place))
