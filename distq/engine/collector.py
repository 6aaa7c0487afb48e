"""Python's garbage collector, while jobs run."""

from __future__ import annotations

import gc
import threading
from collections.abc import Iterator
from contextlib import contextmanager

_lock = threading.Lock()
_jobs = 0


@contextmanager
def loaded_set_aside() -> Iterator[None]:
    """Have the collector pass over all that existed when the first of the jobs that run now began.

    That is modules above all, which never become garbage while a job runs. To go through them takes a tenth
    of a second, and a short job would do it several times.
    """
    global _jobs  # noqa: PLW0603  # the collector is the process's, which may run several jobs
    with _lock:
        if not _jobs:
            gc.freeze()
        _jobs += 1
    try:
        yield
    finally:
        with _lock:
            _jobs -= 1
            if not _jobs:
                gc.unfreeze()
