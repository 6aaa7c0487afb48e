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


class Raylet:
    """The raylet that this process is connected to."""

    def __init__(self, process: int) -> None:
        """Watch a process, also one that its parent has not yet waited for.

        Raises:
            OSError: there is none of this id, or the system has no file descriptors of processes.
        """
        self._descriptor = os.pidfd_open(process)

    @property
    def gone(self) -> bool:
        """Whether its process has ended; may be asked by several threads at once."""
        return self.gone_within(0)

    def gone_within(self, seconds: float) -> bool:
        """Whether its process has ended, or ends in this time."""
        ended = select.poll()  # one of its own for each call: Python refuses a second poll of the same one
        ended.register(self._descriptor, select.POLLIN)
        return bool(ended.poll(1000 * seconds))

    def close(self) -> None:
        """Look no more."""
        os.close(self._descriptor)


def find_raylet() -> Raylet | None:
    """The raylet of the Ray that this process has joined; None where that cannot be told, as from outside."""
    # there is no public way to it, and where this one is gone nothing breaks
    with contextlib.suppress(Exception):
        node = vars(importlib.import_module("ray._private.worker"))["_global_node"]
        with socket.socket(socket.AF_UNIX) as raylet:
            raylet.settimeout(1)
            raylet.connect(node.raylet_socket_name)
            size = struct.calcsize(_CREDENTIALS)
            said = raylet.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, size)
        return Raylet(struct.unpack(_CREDENTIALS, said)[0])
    return None
