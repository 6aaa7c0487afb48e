"""Whether this machine's part of Ray is still there: without it Ray ends the process at its next call."""

from __future__ import annotations

import contextlib
import importlib
import os
import select
import socket
import struct

GONE = (
    "this machine's part of the Ray cluster (its raylet) is gone: have it started again, then continue with "
    "--resume"
)

_CREDENTIALS = "3i"
"""What Linux says of the process behind a socket: its id, user and group."""
_ENDING_SECONDS = 2.0
"""For a process whose connections are closed already; others that wake up by that may hold it up."""


class Raylet:
    """The raylet that this process is connected to."""

    def __init__(self, process: int, connection: socket.socket | None = None) -> None:
        """Watch a process, also one that its parent has not yet waited for.

        Args:
            process: its id.
            connection: one to it that nothing else uses; where it breaks, the process is about to end.

        Raises:
            OSError: there is none of this id, or the system has no file descriptors of processes.
        """
        self._descriptor = os.pidfd_open(process)
        self._connection = connection

    @property
    def gone(self) -> bool:
        """Whether its process has ended; may be asked by several threads at once."""
        connection = self._connection
        if connection is None or not _ready(connection.fileno(), 0):
            return _ready(self._descriptor, 0)
        if self.ending():
            return True
        self._connection = None  # closed for another reason
        return False

    def ending(self) -> bool:
        """Whether its process ends soon, asked where a connection to it broke."""
        return _ready(self._descriptor, _ENDING_SECONDS)

    def close(self) -> None:
        """Look no more."""
        os.close(self._descriptor)
        if self._connection is not None:
            self._connection.close()


def _ready(descriptor: int, seconds: float) -> bool:
    ready = select.poll()  # one of its own for each call: Python refuses a second poll of the same one
    ready.register(descriptor, select.POLLIN)
    return bool(ready.poll(1000 * seconds))


def find_raylet() -> Raylet | None:
    """The raylet of the Ray that this process has joined; None where that cannot be told, as from outside."""
    # there is no public way to it, and where this one is gone nothing breaks
    with contextlib.suppress(Exception):
        node = vars(importlib.import_module("ray._private.worker"))["_global_node"]
        connection = socket.socket(socket.AF_UNIX)
        connection.settimeout(1)
        connection.connect(node.raylet_socket_name)
        said = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize(_CREDENTIALS))
        return Raylet(struct.unpack(_CREDENTIALS, said)[0], connection)
    return None
