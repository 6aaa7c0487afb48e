"""Ray itself: start one on this machine, connect to one, say what it has, and leave no trace of ours.

Ray is imported when a cluster is wanted: that takes 0.4 s, and the local executor needs none of it.
"""

from __future__ import annotations

import atexit
import contextlib
import importlib
import logging
import os
import secrets
import shutil
import socket
import tempfile
from pathlib import Path
from typing import Any

from distq.engine.placement import Resources
from distq.errors import ExecutionError, UsageError

_CONNECT_SECONDS = 5.0
_RAY_PORT = 6379
_LONGEST_FOLDER = 40
_WORKERS_PER_CORE = 4


class RayCluster:
    """A connection to Ray, and Ray itself where this process started it."""

    def __init__(self, address: str | None, cpus: int) -> None:
        """Reuse this process's Ray, connect to ``address`` (or RAY_ADDRESS), or start Ray on this machine.

        Args:
            address: ``auto``, ``host:port``, ``ray://host:port``, or None.
            cpus: what a Ray started here should offer at least; more than the machine's cores is granted
                up to four per core, so that a job's number of workers is not bound to a machine.

        Raises:
            UsageError: there is no Ray at ``address``.
            ExecutionError: Ray does not start on this machine.
        """
        self.ray: Any = importlib.import_module("ray")
        self._ours = False
        self._folder: Path | None = None
        if self.ray.is_initialized():
            return
        address = address or os.environ.get("RAY_ADDRESS") or None
        if address is None or address == "local":
            self._start(cpus)
        else:
            self._connect(address)
        self._ours = True
        atexit.register(self.close)

    def nodes(self) -> list[Resources]:
        """CPUs and GPUs of each living node."""
        found = (node["Resources"] for node in self.ray.nodes() if node["Alive"])
        return [Resources(float(node.get("CPU", 0)), float(node.get("GPU", 0))) for node in found]

    def free(self) -> Resources:
        """CPUs and GPUs that nobody holds now."""
        total = self.ray.available_resources()
        return Resources(float(total.get("CPU", 0)), float(total.get("GPU", 0)))

    def close(self) -> None:
        """Leave the cluster; a Ray started here ends and its temporary folder goes. Can be called twice."""
        if self._ours:
            self._ours = False
            atexit.unregister(self.close)
            self.ray.shutdown()
        if self._folder is not None:
            shutil.rmtree(self._folder, ignore_errors=True)
            self._folder = None

    def _start(self, cpus: int) -> None:
        # Ray would write a token into the home folder; its processes also take one from the environment
        if not {"RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH"} & os.environ.keys():
            os.environ["RAY_AUTH_TOKEN"] = secrets.token_hex(32)
        cores = machine_cores()
        self._folder = _short_folder()
        try:
            self._init(
                address="local",
                num_cpus=min(max(cores, cpus), _WORKERS_PER_CORE * cores),
                include_dashboard=False,
                _temp_dir=str(self._folder),
            )
        except _INIT_ERRORS as error:
            self.close()
            raise ExecutionError(
                f"Ray does not start on this machine: {_one_line(error)}; try --executor local"
            ) from error

    def _connect(self, address: str) -> None:
        remedy = "start it (ray start --head), correct --address, or leave it out to use this machine"
        _knock(address, remedy)
        try:
            self._init(address=address)
        except _INIT_ERRORS as error:
            raise UsageError(
                f"no Ray cluster at --address {address}: {_one_line(error)}; {remedy}"
            ) from error

    def _init(self, **options: Any) -> None:  # noqa: ANN401  # Ray's own keyword arguments
        self.ray.init(logging_level=logging.ERROR, log_to_driver=False, configure_logging=True, **options)
        # Ray prints a paragraph on stderr for every process that dies, which the pool tells in one line;
        # there is no public switch, and where this one is gone nothing breaks
        with contextlib.suppress(ImportError):
            vars(importlib.import_module("ray._private.worker"))["_worker_logs_enabled"] = False


# Ray ends the process with SystemExit when a cluster does not answer
_INIT_ERRORS = (Exception, SystemExit)


def machine_cores() -> int:
    """Cores this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _knock(address: str, remedy: str) -> None:
    """Fail within seconds where nothing listens: Ray itself tries for over a minute and writes on stderr."""
    host, _, port = address.removeprefix("ray://").rpartition(":")
    if not host:
        host, port = address, str(_RAY_PORT)
    if address == "auto" or not port.isdigit():
        return
    try:
        socket.create_connection((host.strip("[]"), int(port)), timeout=_CONNECT_SECONDS).close()
    except OSError as error:
        raise UsageError(f"no Ray cluster at --address {address}: {_one_line(error)}; {remedy}") from error


def _short_folder() -> Path:
    # Ray's sockets lie 65 characters deeper, and the path of a socket ends at 107
    base = tempfile.gettempdir()
    if len(base) > _LONGEST_FOLDER - len("/distq-12345678"):
        base = "/tmp"  # noqa: S108  # mkdtemp makes a folder of our own in it
    return Path(tempfile.mkdtemp(prefix="distq-", dir=base))


def _one_line(error: BaseException) -> str:
    if isinstance(error, SystemExit):
        return "it does not answer"
    lines = str(error).strip().splitlines()
    return lines[0].rstrip(".") if lines else type(error).__name__
