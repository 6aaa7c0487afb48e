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
import signal
import socket
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

from distq import ending
from distq.engine.placement import Resources
from distq.engine.ray_answers import BoundedRay
from distq.engine.ray_folder import RayFolder
from distq.engine.ray_lean import without_unused_processes
from distq.engine.ray_quick import settings, without_long_waits
from distq.engine.ray_reaper import Reaper
from distq.engine.raylet import find_raylet
from distq.errors import ExecutionError, UsageError

_CONNECT_SECONDS = 5.0
_KNOCK_EVERY_SECONDS = 3.0
_ANSWER_SECONDS = 1.0
_MOST_UNANSWERED = 5
_RAY_PORT = 6379
_WORKERS_PER_CORE = 4


class RayCluster:
    """A connection to Ray, and Ray itself where this process started it."""

    def __init__(self, address: str | None, cpus: int, on_event: Callable[[str], None] | None = None) -> None:
        """Reuse this process's Ray, connect to ``address`` (or RAY_ADDRESS), or start Ray on this machine.

        Args:
            address: ``auto``, ``host:port``, ``ray://host:port``, or None.
            cpus: what a Ray started here should offer at least; more than the machine's cores is granted
                up to four per core, so that a job's number of workers is not bound to a machine.
            on_event: takes one line when Ray does not answer.

        Raises:
            UsageError: there is no Ray at ``address``.
            ExecutionError: Ray does not start on this machine.
        """
        self.ray = BoundedRay(importlib.import_module("ray"))
        self.ray.on_event = on_event
        self._ours = False
        self._folder: RayFolder | None = None
        self._reaper: Reaper | None = None
        self._next_knock = 0.0
        self._unanswered = 0
        if self.ray.is_initialized():
            return
        address = address or os.environ.get("RAY_ADDRESS") or None
        self._ours = True
        atexit.register(self.close)
        try:
            if address is None or address == "local":
                self._start(cpus)
            else:
                self._connect(address)
        except BaseException:
            self.close()
            raise

    @property
    def spans_machines(self) -> bool:
        """Whether workers may run on other machines than this one: so it is unless Ray was started here."""
        return self._folder is None

    def nodes(self) -> list[Resources]:
        """CPUs and GPUs of each living node."""
        found = (node["Resources"] for node in self.ray.nodes() if node["Alive"])
        return [Resources(float(node.get("CPU", 0)), float(node.get("GPU", 0))) for node in found]

    def free(self) -> Resources:
        """CPUs and GPUs that nobody holds now."""
        total = self.ray.available_resources()
        return Resources(float(total.get("CPU", 0)), float(total.get("GPU", 0)))

    def require_head(self) -> None:
        """Notice that Ray's head is gone before Ray does, which ends the process after a minute without it.

        Cheap enough to be called for every unit: it knocks at most every three seconds.

        Raises:
            ExecutionError: the head did not answer for five times.
        """
        now = time.monotonic()
        if now < self._next_knock or not self._ours or self.ray.util.client.ray.is_connected():
            return
        self._next_knock = now + _KNOCK_EVERY_SECONDS
        head = self.ray.get_runtime_context().gcs_address
        try:
            _knock(head, _ANSWER_SECONDS)
            self._unanswered = 0
        except OSError as error:
            self._unanswered += 1
            if self._unanswered == _MOST_UNANSWERED:
                raise ExecutionError(
                    f"the Ray cluster's head at {head} is gone ({_one_line(error)}): have it started again, "
                    "then continue with --resume"
                ) from error

    def close(self) -> None:
        """Leave the cluster; a Ray started here ends and its temporary folder goes. Can be called twice."""
        if self._ours:
            self._ours = False
            atexit.unregister(self.close)
            if not self.ray.shutdown():
                atexit.unregister(self.ray.module.shutdown)  # it would be waited for once more
                if (
                    self._reaper is not None
                ):  # Ray ends this process with its raylet, so that waits for our end
                    self._reaper.hurry()
                    self._reaper = self._folder = None
        raylet, self.ray.raylet = self.ray.raylet, None
        if raylet is not None:
            raylet.close()
        if self._reaper is not None:
            self._reaper.dismiss()
            self._reaper = None
        if self._folder is not None:
            self._folder.remove()
            self._folder = None

    def _start(self, cpus: int) -> None:
        # Ray would write a token into the home folder; its processes also take one from the environment
        if not {"RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH"} & os.environ.keys():
            os.environ["RAY_AUTH_TOKEN"] = secrets.token_hex(32)
        os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # else it reports to Ray's makers
        os.environ.setdefault("RAY_worker_niceness", "0")  # else workers give way to all else on the machine
        cores = machine_cores()
        self._folder = RayFolder.make()
        self._reaper = Reaper(self._folder.path)
        ending.at_last(self._reaper.hurry)
        try:
            with without_unused_processes(), without_long_waits():
                self._init(
                    address="local",
                    num_cpus=min(max(cores, cpus), _WORKERS_PER_CORE * cores),
                    include_dashboard=False,
                    _temp_dir=str(self._folder.path),
                    _system_config=settings(),
                )
        except _INIT_ERRORS as error:
            raise ExecutionError(
                f"Ray does not start on this machine: {_one_line(error)}; try --executor local"
            ) from error

    def _connect(self, address: str) -> None:
        remedy = "start it (ray start --head), correct --address, or leave it out to use this machine"
        _require_listener(address, remedy)
        try:
            self._init(address=address)
        except _INIT_ERRORS as error:
            raise UsageError(
                f"no Ray cluster at --address {address}: {_one_line(error)}; {remedy}"
            ) from error

    def _init(self, **options: Any) -> None:  # noqa: ANN401  # Ray's own keyword arguments
        with _own_sigterm():
            self.ray.init(logging_level=logging.ERROR, log_to_driver=False, configure_logging=True, **options)
        self.ray.raylet = find_raylet()
        # Ray prints a paragraph on stderr for every process that dies, which the pool tells in one line;
        # there is no public switch, and where this one is gone nothing breaks
        with contextlib.suppress(ImportError):
            vars(importlib.import_module("ray._private.worker"))["_worker_logs_enabled"] = False


# Ray ends the process with SystemExit when a cluster does not answer
_INIT_ERRORS = (Exception, SystemExit)


@contextlib.contextmanager
def _own_sigterm() -> Iterator[None]:
    """Keep a program's own answer to SIGTERM, which Ray replaces by one that exits with 15."""
    handler = signal.getsignal(signal.SIGTERM)
    try:
        yield
    except SystemExit as error:
        if error.code == signal.SIGTERM:  # Ray's answer, while it was starting
            raise KeyboardInterrupt from error
        raise
    finally:
        if callable(handler) and threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGTERM, handler)


def machine_cores() -> int:
    """Cores this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _require_listener(address: str, remedy: str) -> None:
    """Fail within seconds where nothing listens: Ray itself tries for over a minute and writes on stderr."""
    host_and_port = address.removeprefix("ray://")
    if ":" not in host_and_port:
        host_and_port += f":{_RAY_PORT}"
    if address == "auto" or not host_and_port.rpartition(":")[2].isdigit():
        return
    try:
        _knock(host_and_port, _CONNECT_SECONDS)
    except OSError as error:
        raise UsageError(f"no Ray cluster at --address {address}: {_one_line(error)}; {remedy}") from error


def _knock(address: str, seconds: float) -> None:
    host, _, port = address.rpartition(":")
    socket.create_connection((host.strip("[]"), int(port)), timeout=seconds).close()


def _one_line(error: BaseException) -> str:
    if isinstance(error, SystemExit):
        return "it does not answer"
    lines = str(error).strip().splitlines()
    return lines[0].rstrip(".") if lines else type(error).__name__
