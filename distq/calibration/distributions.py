"""The distributions of a network's tensors in one file, with what they were gathered from."""

from __future__ import annotations

import io
import json
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from distq.calibration.histogram import Distribution
from distq.errors import FileFormatError
from distq.files import BROKEN_ARCHIVE, atomic_write
from distq.memory import memory_limit
from distq.regular import require_regular, require_size

_FORMAT, _OLDER_FORMAT = "distq distributions 2", "distq distributions 1"
_HEADER = "header"
_REMEDY = "gather the distributions again with --dump-dist"
_LEVEL = 1
"""Of compression: 6 takes twice as long while workers wait, and makes the file 6 % smaller."""


@dataclass
class DistributionSet:
    """Distributions by tensor name, and the identity of the job that gathered them.

    Attributes:
        tensors: by tensor name.
        identity: what they depend on, such as the SHA-256 of model, data manifest and preprocessing, samples,
            seed; compared as strings.
    """

    tensors: dict[str, Distribution]
    identity: dict[str, str]

    def save(self, path: Path) -> None:
        """Write an ``.npz`` atomically; equal sets give equal bytes.

        Raises:
            ExecutionError: the file cannot be written; an older one is still there.
        """
        names = sorted(self.tensors)
        header = {"format": _FORMAT, "identity": self.identity, "tensors": names}
        text = json.dumps(header, sort_keys=True, ensure_ascii=False).encode()
        arrays: dict[str, npt.NDArray[Any]] = {_HEADER: np.frombuffer(text, np.uint8)}
        for number, name in enumerate(names):
            arrays |= self.tensors[name].to_arrays(f"{number}/")
        atomic_write(path, _npz(arrays))

    @classmethod
    def load(cls, path: Path) -> Self:
        """Read what ``save`` wrote.

        Raises:
            FileFormatError: the file is missing, damaged, or something else.
        """
        arrays = _read_npz(path)
        try:
            header = json.loads(arrays[_HEADER].tobytes())
            names, identity = header["tensors"], header["identity"]
            known = header["format"] in {_FORMAT, _OLDER_FORMAT}
        except (KeyError, TypeError, ValueError) as error:
            raise FileFormatError(f"{path} holds no distributions of distq: {_REMEDY}") from error
        if not known or not _is_strings(names) or not isinstance(identity, dict):
            raise FileFormatError(f"{path} is of another version of distq: {_REMEDY}")
        try:
            tensors = {name: Distribution.from_arrays(arrays, f"{i}/") for i, name in enumerate(names)}
        except FileFormatError as error:
            raise FileFormatError(f"{path}: {error}") from error
        return cls(tensors, {field: str(value) for field, value in identity.items()})

    def require_same(self, identity: dict[str, str]) -> None:
        """Refuse distributions that were gathered from something else than ``identity``.

        Raises:
            FileFormatError: naming the first field that differs, with both values.
        """
        for field in [*identity, *(field for field in self.identity if field not in identity)]:
            theirs, ours = self.identity.get(field, "not recorded"), identity.get(field, "not set")
            if theirs != ours:
                raise FileFormatError(
                    f"the distributions are of another {field}: {theirs}, but this job has {ours}: "
                    f"{_REMEDY}, or give the {field} they were gathered with"
                )


def _is_strings(names: object) -> bool:
    return isinstance(names, list) and all(isinstance(name, str) for name in names)


def _npz(arrays: dict[str, npt.NDArray[Any]]) -> bytes:
    """A zip of .npy files as ``np.savez_compressed`` makes it, but without the time of day in it."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, array in arrays.items():
            entry = zipfile.ZipInfo(f"{name}.npy", (1980, 1, 1, 0, 0, 0))
            entry.compress_type = zipfile.ZIP_DEFLATED
            entry.external_attr = 0o644 << 16
            content = io.BytesIO()
            np.lib.format.write_array(content, array, allow_pickle=False)
            archive.writestr(entry, content.getvalue(), compresslevel=_LEVEL)
    return buffer.getvalue()


def _read_npz(path: Path) -> dict[str, npt.NDArray[Any]]:
    """All arrays of an .npz file, each entry checked by its CRC."""
    arrays = {}
    try:
        require_regular(path)
        with zipfile.ZipFile(path) as archive:
            require_size(path, sum(entry.file_size for entry in archive.infolist()), memory_limit())
            for entry in archive.namelist():
                content = io.BytesIO(archive.read(entry))
                arrays[entry.removesuffix(".npy")] = np.lib.format.read_array(content, allow_pickle=False)
    except FileNotFoundError as error:
        raise FileFormatError(f"there is no distribution file {path}: {_REMEDY}") from error
    except (OSError, TypeError, *BROKEN_ARCHIVE) as error:
        raise FileFormatError(f"{path} is damaged or no distribution file ({error}): {_REMEDY}") from error
    return arrays
