"""Weights of large networks on machines where they are not yet."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from distq.graph.weight_files import place_of, write

_WAITING: list[subprocess.Popen[bytes]] = []
"""They wait for the end of a pipe that this process holds."""


def provide(weights: Mapping[str, Any]) -> None:
    """Write the files that are not there; what this process wrote goes when it ends, however it ends.

    Args:
        weights: their contents in Ray's object store, by location.

    Raises:
        ExecutionError: there is no room.
    """
    import ray  # noqa: PLC0415  # this module is also imported where no Ray is wanted

    for location, handle in weights.items():
        place = place_of(location)
        if not place.exists():
            _remove_at_end(place)
            write(place, ray.get(handle))


def _remove_at_end(place: Path) -> None:
    """Start a process that waits for the end of this one, then removes the file, and its folder if empty."""
    waiting = subprocess.Popen(  # noqa: S603  # this file
        [sys.executable, "-I", __file__, str(place)],
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    _WAITING.append(waiting)


def _main(place: Path) -> None:
    sys.stdin.buffer.read()
    place.unlink(missing_ok=True)
    if place.parent.is_dir() and not any(place.parent.iterdir()):
        place.parent.rmdir()


if __name__ == "__main__":
    _main(Path(sys.argv[1]))
