"""Python's garbage collector, while a job runs."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def loaded_set_aside() -> Iterator[None]:
    """Have the collector pass over all that exists now, until the end.

    That is modules above all, which never become garbage while a job runs. To go through them takes a tenth
    of a second, and a short job would do it several times.
    """
    gc.freeze()
    try:
        yield
    finally:
        gc.unfreeze()
