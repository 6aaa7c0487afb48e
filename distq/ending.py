"""Ending at one Ctrl-C, wherever the process is.

Python answers a signal when it is back in Python. A long run of ONNX Runtime, a call into Ray that does not
return or a reader of a dead storage can keep it from there. So the number of each signal also goes through a
pipe to a thread, which at once stops what can be stopped, and ends the process when that was not enough.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import signal
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

SECONDS_TO_END = 4.5
"""From the signal to the end, at most."""

ENDING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
CODE = 130

OWNER = "owner"
"""The file that the process of a folder keeps locked."""

_lasts: list[Callable[[], object]] = []
_stops: dict[int, Callable[[], object]] = {}
_told = threading.Event()
_message = "interrupted"


@contextmanager
def stopped_by(stop: Callable[[], object]) -> Iterator[None]:
    """Have a function called as soon as a signal asks the process to end, from another thread."""
    key = id(stop)
    _stops[key] = stop
    try:
        yield
    finally:
        _stops.pop(key, None)


def at_last(clean: Callable[[], object]) -> None:
    """Have a function called when the process is ended from outside, just before: it must be short."""
    _lasts.append(clean)


def hold(folder: Path) -> int:
    """Lock a file in a folder of this process for as long as it lives, so that others see whose it is.

    Returns:
        The lock, a file descriptor; the kernel lets go of it however the process ends.
    """
    unnamed = folder / f"{OWNER}.new"  # under its name it is locked from the beginning
    lock = os.open(unnamed, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    fcntl.flock(lock, fcntl.LOCK_EX)
    unnamed.rename(folder / OWNER)
    return lock


@contextmanager
def temporary_folder(prefix: str = "distq-", place: Path | None = None) -> Iterator[Path]:
    """A folder that goes at the end of the block, or of the process where that is ended from outside.

    Args:
        prefix: of its name.
        place: where it is made; None: where temporary files are.
    """
    with TemporaryDirectory(prefix=prefix, dir=place, ignore_cleanup_errors=True) as folder:
        remove = partial(shutil.rmtree, folder, ignore_errors=True)
        _lasts.append(remove)
        try:
            yield Path(folder)
        finally:
            _lasts.remove(remove)


def say(message: str) -> None:
    """What is said where the process has to be ended from outside: what to do to continue."""
    global _message  # noqa: PLW0603  # of the one command that a process runs
    _message = message


def told() -> None:
    """The process has said by itself that it was interrupted."""
    _told.set()


def watch() -> None:
    """Begin to watch for signals; once, in the main thread, before anything else."""
    reading, writing = os.pipe2(os.O_CLOEXEC)
    os.set_blocking(writing, False)
    signal.set_wakeup_fd(writing, warn_on_full_buffer=False)
    threading.Thread(target=_wait, args=(reading,), daemon=True, name="distq-ending").start()


def _wait(reading: int) -> None:
    while not {*os.read(reading, 64)} & {*ENDING}:
        pass
    end = time.monotonic() + SECONDS_TO_END
    while time.monotonic() < end:  # what begins meanwhile is stopped too
        _call(list(_stops.values()))
        time.sleep(0.1)
    _call(list(_lasts))
    if not _told.is_set():
        with contextlib.suppress(OSError):
            os.write(2, f"distq: {_message}\n".encode())
    os._exit(CODE)


def _call(functions: Iterable[Callable[[], object]]) -> None:
    for function in functions:
        with contextlib.suppress(Exception):
            function()
