"""The command ``distq``, also as ``python -m distq``: loads what it needs, then hands over to distq.cli."""

from __future__ import annotations

import os
import signal
from types import FrameType


def main() -> None:
    """Run the command; Ctrl-C while its modules load ends it in one line, as it does later."""
    before = signal.getsignal(signal.SIGINT)
    if before is signal.default_int_handler:  # a shell's background job ignores it
        signal.signal(signal.SIGINT, _leave)
    from distq import cli  # noqa: PLC0415  # half a second, in which Python would answer with a traceback

    signal.signal(signal.SIGINT, before)
    cli.main()


def _leave(number: int, frame: FrameType | None) -> None:
    """End at once: nothing has begun, and an exception might be lost in a module that is being loaded."""
    del number, frame
    os.write(2, b"distq: interrupted\n")
    os._exit(130)


if __name__ == "__main__":
    main()
