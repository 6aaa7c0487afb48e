"""Ends what is left of a Ray whose driver was killed.

Ray's agents can outlive a killed driver by a minute, with their ports: they try to tell a head that is gone.
So a small process waits beside the driver. It reads from a pipe that ends when the driver does, and knows
Ray's processes by the files in Ray's folder that they have open for writing: their logs.
"""

from __future__ import annotations

import contextlib
import os
import signal
import stat
import subprocess
import sys
import time
from pathlib import Path

_SECONDS_TO_END = 4.0  # most of Ray's processes end by themselves


def start_reaper(folder: Path) -> subprocess.Popen[bytes]:
    """Start the process that waits; to be killed when Ray was shut down in order.

    Args:
        folder: given to Ray for its sockets and logs, and to nothing else.
    """
    return subprocess.Popen(  # noqa: S603  # this file
        [sys.executable, "-I", __file__, str(folder)],
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,  # Ctrl-C is not for it
    )


def _main(folder: Path) -> None:
    sys.stdin.buffer.read()
    time.sleep(_SECONDS_TO_END)
    for process in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):  # it ended meanwhile, or is another user's
            if any(_writes_into(folder, opened) for opened in (process / "fd").iterdir()):
                os.kill(int(process.name), signal.SIGKILL)


def _writes_into(folder: Path, opened: Path) -> bool:
    with contextlib.suppress(OSError):  # closed meanwhile
        return folder in opened.readlink().parents and bool(opened.lstat().st_mode & stat.S_IWUSR)
    return False


if __name__ == "__main__":
    _main(Path(sys.argv[1]))
