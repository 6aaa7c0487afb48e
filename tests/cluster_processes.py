"""What tests that start Ray on their own look at: the processes of this machine."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path


def processes_with(mark: str) -> list[int]:
    """Processes that inherited an environment with ``mark`` in it."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            if mark.encode() in (folder / "environ").read_bytes() and int(folder.name) != os.getpid():
                found.append(int(folder.name))
    return found
