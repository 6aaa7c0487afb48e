"""The command ``distq``, also as ``python -m distq``: sees to Ctrl-C, then loads the command line."""

from __future__ import annotations

import os
import signal
import threading
from importlib.machinery import ExtensionFileLoader
from types import FrameType

_AGAIN_SECONDS = 0.01


def main() -> None:
    """Run the command; Ctrl-C, SIGTERM and a closed terminal end it in one line, also while modules load."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(number) in {signal.SIG_DFL, signal.default_int_handler}:  # nohup ignores SIGHUP
            signal.signal(number, interrupt)
    from distq import ending  # noqa: PLC0415  # short, and it has to be there first

    ending.watch()
    try:
        from distq.cli import app  # noqa: PLC0415  # half a second, in which Python would answer with a traceback

        app.main()
    except KeyboardInterrupt:  # before the command line was read, or once more as the command ends
        os.write(2, b"distq: interrupted\n")
        os._exit(130)


def interrupt(number: int, frame: FrameType | None) -> None:
    """Raise KeyboardInterrupt; while an extension module loads a moment later, because some crash of it.

    Raises:
        KeyboardInterrupt: none is being loaded.
    """
    while frame is not None:
        if isinstance(frame.f_locals.get("self"), ExtensionFileLoader):
            again = threading.Timer(_AGAIN_SECONDS, os.kill, [os.getpid(), number])
            again.daemon = True
            again.start()
            return
        frame = frame.f_back
    raise KeyboardInterrupt


if __name__ == "__main__":
    main()
