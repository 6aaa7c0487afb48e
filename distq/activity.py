"""What each thread of this process is at, for whoever asks why nothing comes back."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

_now: dict[int, tuple[float, str]] = {}


@contextmanager
def doing(what: str) -> Iterator[None]:
    """Say what this thread is at inside the block, such as a file that it reads."""
    thread = threading.get_ident()
    before = _now.get(thread)
    _now[thread] = time.monotonic(), what
    try:
        yield
    finally:
        if before is None:
            _now.pop(thread, None)
        else:
            _now[thread] = before


def longest() -> tuple[str, float] | None:
    """What the thread is at that has been at one thing for longest, and for how many seconds."""
    started = min(list(_now.values()), default=None)
    return None if started is None else (started[1], time.monotonic() - started[0])
