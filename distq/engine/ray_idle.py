"""Stands for a process of Ray's that a job has no use for, but whose end would be Ray's: does nothing.

Started by its path with Ray's folder, without any library; whatever arguments follow are not for it.
"""

from __future__ import annotations

import os
import sys
import time

_LOOK_SECONDS = 0.5


def _main(folder: str) -> None:
    """Wait until who started it has ended, perhaps before this line, when the folder goes."""
    parent = os.getppid()
    while os.getppid() == parent and os.path.isdir(folder):  # noqa: PTH112  # pathlib takes longer than the rest
        time.sleep(_LOOK_SECONDS)


if __name__ == "__main__":
    _main(sys.argv[1])
