"""Writing an LMDB in batches."""

from __future__ import annotations

from pathlib import Path

import lmdb

_COMMIT_RECORDS = 1000
_COMMIT_BYTES = 1 << 26
_FIRST_MAP_BYTES = 1 << 26


class BatchWriter:
    """Commits every 1000 records (or 64 MiB), doubling the map when it is full.

    Raises:
        lmdb.Error: the folder cannot be written.
    """

    def __init__(self, folder: Path) -> None:
        self._environment = lmdb.open(str(folder), map_size=_FIRST_MAP_BYTES)
        self._records: list[tuple[bytes, bytes]] = []
        self._bytes = 0

    def put(self, key: bytes, value: bytes) -> None:
        """Add a record, committing when enough are waiting."""
        self._records.append((key, value))
        self._bytes += len(value)
        if len(self._records) >= _COMMIT_RECORDS or self._bytes >= _COMMIT_BYTES:
            self.commit()

    def commit(self) -> None:
        """Write what is waiting."""
        while True:
            try:
                with self._environment.begin(write=True) as transaction:
                    for key, value in self._records:
                        transaction.put(key, value)
                break
            except lmdb.MapFullError:
                self._environment.set_mapsize(2 * self._environment.info()["map_size"])
        self._records, self._bytes = [], 0

    def close(self) -> None:
        """Release the files; what was not committed is lost."""
        self._environment.close()
