"""Named arrays as bytes and back: an npz without pickle, the same bytes for the same arrays."""

from __future__ import annotations

import io
import zipfile

import numpy as np

from distq.errors import FileFormatError
from distq.files import BROKEN_ARCHIVE
from distq.replica.worker import Arrays

_EPOCH = (1980, 1, 1, 0, 0, 0)  # the earliest date a zip can hold


def pack_arrays(arrays: Arrays) -> bytes:
    """Arrays of any shape and plain dtype as an npz that ``numpy.load`` reads, in the order given.

    Raises:
        ValueError: an array holds Python objects.
    """
    buffer = io.BytesIO()
    with zipfile.ZipFile(
        buffer, "w"
    ) as archive:  # stored: compressing takes longer than the forward it keeps
        for name, array in arrays.items():
            entry = zipfile.ZipInfo(f"{name}.npy", _EPOCH)
            with archive.open(entry, "w", force_zip64=True) as stream:
                np.lib.format.write_array(stream, np.asarray(array), allow_pickle=False)
    return buffer.getvalue()


def unpack_arrays(data: bytes) -> Arrays:
    """What :func:`pack_arrays` packed.

    Raises:
        FileFormatError: the bytes are something else.
    """
    arrays: Arrays = {}
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            for entry in archive.infolist():
                with archive.open(entry) as stream:
                    array = np.lib.format.read_array(stream, allow_pickle=False)
                arrays[entry.filename.removesuffix(".npy")] = array
    except (KeyError, *BROKEN_ARCHIVE) as error:
        raise FileFormatError(f"the arrays of a unit are damaged ({error}); run the unit again") from error
    return arrays
