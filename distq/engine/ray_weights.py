"""Weights of large networks on machines where they are not yet.

Several workers of a machine use one file. Each holds a lock on a file beside it; the last to end, however it
ends, removes both.
"""

from __future__ import annotations

import fcntl
import os
import subprocess
import sys
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

_HELD: dict[Path, tuple[int, subprocess.Popen[bytes]]] = {}
"""The lock of a file, and what waits for the end of this process: it reads a pipe that this one holds."""


def provide(weights: Mapping[str, Any]) -> None:
    """Write the files that are not there; they go when the last process that was given them has ended.

    Args:
        weights: their contents in Ray's object store, by location.

    Raises:
        ExecutionError: there is no room.
    """
    import ray  # noqa: PLC0415  # this module is also imported where no Ray is wanted

    from distq.graph.weight_files import place_of, write  # noqa: PLC0415  # what waits has none of distq

    for location, handle in weights.items():
        place = place_of(location)
        if place in _HELD or (place.exists() and not _lock_of(place).exists()):
            continue  # held already, or the driver's own
        place.parent.mkdir(parents=True, exist_ok=True)
        _HELD[place] = _hold(place), _remove_at_end(place)
        if not place.exists():
            write(place, ray.get(handle))


def _lock_of(place: Path) -> Path:
    return place.with_name(f"{place.name}.held")


def _hold(place: Path) -> int:
    """Take a share of the lock, once nobody is removing the file."""
    while True:
        _lock_of(place).parent.mkdir(parents=True, exist_ok=True)
        held = os.open(_lock_of(place), os.O_CREAT | os.O_RDWR, 0o600)
        fcntl.flock(held, fcntl.LOCK_SH)
        if _is_current(place, held):
            return held
        os.close(held)


def _is_current(place: Path, held: int) -> bool:
    """Whether an opened lock is the one that lies there: it may have been removed while it was awaited."""
    try:
        return os.path.samestat(os.fstat(held), _lock_of(place).stat())
    except FileNotFoundError:
        return False


def _remove_at_end(place: Path) -> subprocess.Popen[bytes]:
    """Start a process that waits for the end of this one, then removes the file once no other holds it."""
    return subprocess.Popen(  # noqa: S603  # this file
        [sys.executable, "-I", __file__, str(place)],
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )


def _main(place: Path) -> None:
    sys.stdin.buffer.read()
    with suppress(FileNotFoundError):
        held = os.open(_lock_of(place), os.O_RDWR)
        fcntl.flock(held, fcntl.LOCK_EX)
        if _is_current(place, held):
            place.unlink(missing_ok=True)
            _lock_of(place).unlink()
            place.parent.rmdir()


if __name__ == "__main__":
    _main(Path(sys.argv[1]))
