"""Which samples a job used: a hash over what is stored of them."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial

import numpy as np

from distq.data.dataset import DatasetSpec
from distq.data.samples import Source, UnreadableSample

_HASHED_WHOLE = 10_000
_PROBES = 1000
_READERS = 16  # storage behind a network answers many at a time


@dataclass(frozen=True)
class Manifest:
    """Which samples a job used.

    Attributes:
        kind: Kind of source: folder, list, lmdb, npz, npy or recorded.
        source: Where it was.
        count: Samples there.
        selected: Samples used.
        sha256: Over index, name and content of the selected samples, in the order given.
        hashed: ``contents``, or ``names and one content in N`` where more than 10,000 are selected: over the
            names of all samples there, the indices of the selected, and the contents of at most 1000 of them,
            evenly apart. Only to read a million would take hours on some storage.
    """

    kind: str
    source: str
    count: int
    selected: int
    sha256: str
    hashed: str


def manifest(spec: DatasetSpec, indices: Sequence[int]) -> Manifest:
    """Hash the raw stored bytes of samples: one flipped bit in a JPEG mostly decodes, to other pixels.

    Raises:
        DataError: the source cannot be opened.
    """
    source = spec.open().source
    total = hashlib.sha256()
    step = 1
    if len(indices) > _HASHED_WHOLE:
        step = -(-len(indices) // _PROBES)
        total.update(source.names_sha256().encode() + np.asarray(indices, "<i8").tobytes())
    chosen = indices[::step]
    with ThreadPoolExecutor(_READERS) as pool:
        contents = list(pool.map(partial(_content_hash, source), chosen))
    for index, content in zip(chosen, contents, strict=True):
        total.update(f"{index}\0".encode() + os.fsencode(source.name(index)) + f"\0{content}\n".encode())
    return Manifest(
        kind=source.kind,
        source=spec.source,
        count=len(source),
        selected=len(indices),
        sha256=total.hexdigest(),
        hashed="contents" if step == 1 else f"names and one content in {step}",
    )


def _content_hash(source: Source, index: int) -> str:
    try:
        return ",".join(hashlib.sha256(part).hexdigest() for part in source.stored(index))
    except (OSError, ValueError, UnreadableSample):
        return "unreadable"  # a job may be allowed to leave it out
