"""A Ray of several nodes on this machine, whose parts scripts/chaos kills and replaces."""

from __future__ import annotations

import contextlib
import os
import random
import secrets
import signal
import threading
from collections.abc import Iterator
from pathlib import Path

PAUSE_SECONDS = 1.0, 8.0  # much longer, and Ray's head takes the node for dead
NODES = 3  # of one worker each, the head among them, which stays


class Machines:
    """A Ray of three nodes on this machine, guarded by a token of its own."""

    def __init__(self, folder: Path) -> None:
        self._mark = secrets.token_hex(32)
        os.environ.update(RAY_AUTH_MODE="token", RAY_AUTH_TOKEN=self._mark, RAY_TMPDIR=str(folder))
        os.environ.pop("RAY_ADDRESS", None)
        from ray.cluster_utils import Cluster  # noqa: PLC0415  # reads the environment

        self._cluster = Cluster(
            initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": False}
        )
        for _ in range(NODES - 1):
            self._cluster.add_node(num_cpus=1)
        self.address: str = self._cluster.address

    def kill(self, kind: str, choice: random.Random) -> bool:
        """Kill -9 one of a kind; False where there is none now."""
        if kind == "actor":
            actors = self.actors()
            if not actors:
                return False
            _kill(choice.choice(sorted(actors)))
            return True
        node = choice.choice(sorted(self._cluster.worker_nodes, key=lambda node: node.node_id))
        raylet = node.all_processes["raylet"][0].process
        for pid in [raylet.pid, *(descendants(raylet.pid) if kind == "node" else ())]:
            _kill(pid)
        raylet.wait()  # a zombie would look alive to its workers
        return True

    def pause(self, driver: int, choice: random.Random) -> None:
        """Let one of the driver, the raylets and Ray's head stand still for some seconds."""
        head = self._cluster.head_node.all_processes
        nodes = [node.all_processes for node in self._cluster.worker_nodes]
        raylets = [started["raylet"][0].process.pid for started in (head, *nodes)]
        pid = choice.choice([driver, head["gcs_server"][0].process.pid, *sorted(raylets)])
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGSTOP)
        threading.Timer(choice.uniform(*PAUSE_SECONDS), _go_on, [pid]).start()

    def actors(self) -> list[int]:
        """Processes of the workers."""
        return [pid for pid, name in self.processes() if name.startswith("ray::UnitActor")]

    def replace_dead(self) -> None:
        """Add a node for each that was killed."""
        for node in list(self._cluster.worker_nodes):
            if node.all_processes["raylet"][0].process.poll() is not None:
                self._cluster.remove_node(node, allow_graceful=False)
                self._cluster.add_node(num_cpus=1, wait=False)

    def processes(self) -> Iterator[tuple[int, str]]:
        """This Ray's processes and how they call themselves."""
        for folder in Path("/proc").glob("[0-9]*"):
            with contextlib.suppress(OSError):
                if self._mark.encode() in (folder / "environ").read_bytes():
                    yield int(folder.name), (folder / "cmdline").read_text().replace("\0", " ")

    def close(self) -> None:
        """End all of them."""
        self._cluster.shutdown()
        for pid, _ in self.processes():
            if pid != os.getpid():
                _kill(pid)


def descendants(root: int) -> list[int]:
    """Processes started by a process, and by those."""
    children: dict[int, list[int]] = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            parent = int(stat.read_text().rpartition(")")[2].split()[1])
            children.setdefault(parent, []).append(int(stat.parent.name))
    found = list(children.get(root, ()))
    for pid in found:
        found += children.get(pid, ())
    return found


def _go_on(pid: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, signal.SIGCONT)


def _kill(pid: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)
