"""Many short byte strings in one piece of memory: names of a million samples."""

from __future__ import annotations

import hashlib
from array import array
from collections.abc import Iterable


class PackedBytes:
    """Byte strings by index; each takes its length and 8 bytes, where a list of them takes 60 more."""

    def __init__(self, parts: Iterable[bytes]) -> None:
        """Take the strings one by one: they are never all there at once."""
        joined, self._ends = bytearray(), array("q")
        for part in parts:
            joined += part
            self._ends.append(len(joined))
        self._joined = bytes(joined)

    def __len__(self) -> int:
        return len(self._ends)

    def __getitem__(self, index: int) -> bytes:
        """The string at an index, not negative.

        Raises:
            IndexError: there are not so many.
        """
        return self._joined[self._ends[index - 1] if index else 0 : self._ends[index]]

    def sha256(self) -> str:
        """Over the strings in their order; the same on every machine of one byte order."""
        digest = hashlib.sha256(self._ends)
        digest.update(self._joined)
        return digest.hexdigest()
