"""Identity of a unit: SHA-256 over everything its result depends on."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt


def content_key(kind: str, *parts: object) -> str:
    """SHA-256 over a kind and plain parts: strings, numbers, sequences of them, whichever kind they are."""
    text = json.dumps([kind, *parts], separators=(",", ":"), default=list)
    return hashlib.sha256(text.encode()).hexdigest()


def arrays_key(arrays: Mapping[str, npt.NDArray[Any]]) -> str:
    """SHA-256 over named arrays: names, types, shapes and bytes."""
    digest = hashlib.sha256()
    for name in sorted(arrays):
        array = np.ascontiguousarray(arrays[name])
        digest.update(f"{name} {array.dtype.str} {array.shape} ".encode())
        digest.update(array.tobytes())
    return digest.hexdigest()
