"""Ends what is left of a Ray whose driver was killed.

Ray's agents can outlive a killed driver by a minute, with their ports: they try to tell a head that is gone.
So a small process waits beside the driver. It reads from a pipe that ends when the driver does, and knows
Ray's processes by the files in Ray's folder that they have open for writing: their logs. The folder is then
nobody's, and goes too.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import stat
import subprocess
import sys
import time
from pathlib import Path

_ROUNDS, _ROUND_SECONDS = 5, 0.2
_SECONDS_TO_END = 4.0  # most of Ray's processes end by themselves


class Reaper:
    """The process that waits, from the driver's side."""

    def __init__(self, folder: Path) -> None:
        """Start it.

        Args:
            folder: given to Ray for its sockets and logs, and to nothing else.
        """
        self.folder = folder
        self._process = subprocess.Popen(  # noqa: S603  # this file
            [sys.executable, "-I", __file__, str(folder)],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,  # Ctrl-C is not for it
        )

    def hurry(self) -> None:
        """Have it not wait for Ray's processes to end by themselves once the driver has ended."""
        if self._process.stdin is not None and not self._process.stdin.closed:
            os.write(self._process.stdin.fileno(), b"!")

    def dismiss(self) -> None:
        """End it: Ray was shut down in order."""
        self._process.kill()
        self._process.communicate()


def _end_processes(folder: Path) -> None:
    """Kill the processes that write into a folder, also those that are stopped."""
    for process in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):  # it ended meanwhile, or is another user's
            if any(_writes_into(folder, opened) for opened in (process / "fd").iterdir()):
                os.kill(int(process.name), signal.SIGKILL)


def _main(folder: Path) -> None:
    if not sys.stdin.buffer.read():
        time.sleep(_SECONDS_TO_END)
    for _ in range(_ROUNDS):  # those that were starting have no log at first
        _end_processes(folder)
        shutil.rmtree(folder, ignore_errors=True)
        if not folder.exists():
            return
        time.sleep(_ROUND_SECONDS)


def _writes_into(folder: Path, opened: Path) -> bool:
    with contextlib.suppress(OSError):  # closed meanwhile
        return folder in opened.readlink().parents and bool(opened.lstat().st_mode & stat.S_IWUSR)
    return False


if __name__ == "__main__":
    _main(Path(sys.argv[1]))
