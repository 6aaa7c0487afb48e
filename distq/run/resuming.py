"""A mark beside a run while a process loads what it continues it with: the journal says nothing of that."""

from __future__ import annotations

import json
import os
import platform
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from distq.run.rundir import RunDir

_SECONDS = 3600.0
"""A mark of another machine, whose processes cannot be asked for, counts for so long."""


@contextmanager
def resuming(rundir: RunDir, *, resume: bool) -> Iterator[None]:
    """Mark a run that is continued; a mark that a killed process left goes with its other leftovers.

    Args:
        rundir: of the run.
        resume: whether it is to be continued.
    """
    if not resume or rundir.finished or not rundir.journal.is_file():
        yield
        return
    mark = _mark(rundir)
    with suppress(OSError):  # a full disk is the run's to find
        mark.write_text(json.dumps({"pid": os.getpid(), "host": platform.node(), "time": time.time()}))
    try:
        yield
    finally:
        with suppress(OSError):
            mark.unlink(missing_ok=True)


def is_resumed(rundir: RunDir, now: float) -> bool:
    """Whether a process is about to continue a run.

    Args:
        rundir: of the run.
        now: seconds since the epoch.
    """
    try:
        said = json.loads(_mark(rundir).read_text())
        pid, here, age = int(said["pid"]), said["host"] == platform.node(), now - float(said["time"])
    except (OSError, ValueError, KeyError, TypeError):
        return False
    return is_alive(pid) if here else age < _SECONDS


def is_alive(pid: int) -> bool:
    """Whether a process of this machine goes on."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except OSError:  # of another user
        return True
    return True


def _mark(rundir: RunDir) -> Path:
    return rundir.path / f".{rundir.run.name}.resumed"
