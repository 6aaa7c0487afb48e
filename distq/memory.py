"""How much memory this process may have, and what is said where that is not enough."""

from __future__ import annotations

import contextlib
import os
import resource
import sys
from pathlib import Path

from distq.errors import UsageError

LOCAL_ADDRESS_SPACE, RAY_ADDRESS_SPACE = 1 << 30, 16 << 30
"""Of a process: libraries and their threads; for Ray also its object store and far more threads."""

REMEDY = (
    "give it more (a container's limit, ulimit -v, a larger machine), or take fewer --workers "
    "or a smaller --cache-memory"
)

_SAID = (
    "bad_alloc",
    "Failed to allocate memory",
    "Insufficient memory",
    "Cannot allocate memory",
    "Unable to allocate",
    "can't start new thread",
)
"""In what libraries say of it: C++'s own, ONNX Runtime, OpenCV, the system, numpy, Ray, Python."""

_PAGE = os.sysconf("SC_PAGE_SIZE")
_OWN_PAGES, _COUNTERS = Path("/proc/self/statm"), Path("/proc/vmstat")
_GROUPS, _OWN_GROUPS = Path("/sys/fs/cgroup"), Path("/proc/self/cgroup")
_STATUS = Path("/proc/self/status")


def is_out_of_memory(error: BaseException) -> bool:
    """Whether something failed for want of memory, by its class or by what a library says."""
    return isinstance(error, MemoryError) or any(said in str(error) for said in _SAID)


def out_of_memory(what: str, error: BaseException) -> str:
    """The message of an error: what there was no memory for, how much it wanted where that is known."""
    detail = " ".join(str(error).partition("traceback:")[0].split())[:200]  # Ray appends one
    return f"{what}: out of memory{f' ({detail})' if detail else ''}: {REMEDY}"


def memory_limit() -> int:
    """Bytes that this process can have at most: of the machine, its control groups and ``ulimit -v``."""
    limits = [_PAGE * os.sysconf("SC_PHYS_PAGES"), *_group_limits()]
    address_space, _ = resource.getrlimit(resource.RLIMIT_AS)
    if address_space != resource.RLIM_INFINITY:
        limits.append(address_space)
    return min(limits)


def require_address_space(least: int, remedy: str) -> None:
    """Refuse a ``ulimit -v`` in which libraries end the process, or Ray waits for its own for half a minute.

    Raises:
        UsageError: it is less.
    """
    given, _ = resource.getrlimit(resource.RLIMIT_AS)
    if given != resource.RLIM_INFINITY and given < least:
        raise UsageError(
            f"ulimit -v gives {given >> 20} MiB of address space, distq needs {least >> 20}: {remedy}"
        )


def rss_bytes() -> int:
    """Bytes of memory that this process has in use now; 0 where the system does not say."""
    try:
        return int(_OWN_PAGES.read_bytes().split()[1]) * _PAGE
    except OSError:
        return 0


def system_kills() -> int:
    """Processes that the system has killed for memory, as the closest source counts that there is.

    That is this process's control group, else the whole machine; 0 where nobody says.
    """
    for version_1, folder in _own_groups():
        counted = _counted(folder / ("memory.oom_control" if version_1 else "memory.events"))
        if counted is not None:
            return counted
    return _counted(_COUNTERS) or 0


def peak_rss_mb() -> float:
    """The most memory that this process has had in use so far, in MiB."""
    kilo = 1 << 20 if sys.platform == "darwin" else 1 << 10  # Linux counts in KiB
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / kilo


def peak_bytes() -> int:
    """Bytes of memory that this program has had in use at most, not counting what started it."""
    with contextlib.suppress(OSError, ValueError):
        for line in _STATUS.read_text(encoding="ascii", errors="replace").splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) << 10  # KiB, see proc_pid_status(5)
    return round(peak_rss_mb() * (1 << 20))


def _counted(path: Path) -> int | None:
    """The line ``oom_kill`` of a file of the system's."""
    with contextlib.suppress(OSError, ValueError):
        for line in path.read_text(encoding="ascii").splitlines():
            name, _, count = line.partition(" ")
            if name == "oom_kill":
                return int(count)
    return None


def _group_limits() -> list[int]:
    """Limits of the control groups that this process is in, of both versions."""
    found = []
    for version_1, own in _own_groups():
        root = _GROUPS / "memory" if version_1 else _GROUPS
        name = "memory.limit_in_bytes" if version_1 else "memory.max"
        for folder in (own, *own.parents):
            if not folder.is_relative_to(root):
                break
            with contextlib.suppress(OSError, ValueError):  # "max", and a root without the file
                found.append(int((folder / name).read_text(encoding="ascii")))
    return found


def _own_groups() -> list[tuple[bool, Path]]:
    """Folders of the control groups that count this process's memory; whether they are of version 1."""
    found = []
    with contextlib.suppress(OSError):
        for line in _OWN_GROUPS.read_text(encoding="utf-8", errors="replace").splitlines():
            _, controllers, place = line.split(":", 2)
            if not controllers or "memory" in controllers.split(","):
                root = _GROUPS / "memory" if controllers else _GROUPS
                found.append((bool(controllers), root / place.lstrip("/")))
    return found
