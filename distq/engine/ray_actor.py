"""What lives in a Ray actor: one worker."""

from __future__ import annotations

import os
import platform
from typing import Any

from distq.activity import longest
from distq.engine.attempt import attempt
from distq.engine.executor import Unit
from distq.engine.ray_decoders import RayDecoders
from distq.engine.ray_weights import provide
from distq.errors import DistqError
from distq.memory import peak_rss_mb, system_kills
from distq.replica.worker import Arrays, Blob, Worker, WorkerSettings

BESIDE = "beside"
"""Concurrency group of what an actor is asked while a unit runs."""

_NODE_DIGITS = 8  # of the 56 that `ray list nodes` shows


class UnitActor:
    """Runs units one after the other in its own process."""

    def __init__(self, settings: WorkerSettings) -> None:
        self._decoders = RayDecoders(settings.decode_actors) if settings.decode_actors else None
        self._worker = Worker(settings, fetch=_fetch, decoders=self._decoders)

    def hello(self) -> tuple[str, str, str, int]:
        """Host, process and Ray's node, for a person, that node, the kind of processor, and :meth:`kills`.

        Who answers is ready.
        """
        import ray  # noqa: PLC0415  # this module is also imported where no Ray is wanted

        from distq.instructions import integer_instructions  # noqa: PLC0415  # the driver needs no ONNX Runtime for it

        if self._decoders is not None:
            self._decoders.require()
        node = ray.get_runtime_context().get_node_id()
        where = f"{platform.node()}, process {os.getpid()}, node {node[:_NODE_DIGITS]}"
        return where, node, integer_instructions(), system_kills()

    def at(self) -> tuple[str, float] | None:
        """What has been going on for longest, and for how many seconds; asked beside the units."""
        return longest()

    def memory(self) -> float:
        """The most memory it has had, in MiB; asked beside the units."""
        return peak_rss_mb()

    def kills(self) -> int:
        """Processes that the system here has killed for memory; asked beside the units."""
        return system_kills()

    def run(self, unit: Unit) -> Arrays | DistqError:
        """One attempt at a unit."""
        return attempt(unit, self._worker)


def automatic_device() -> str:
    """What ``--device auto`` is where this runs, ``cuda`` or ``cpu``."""
    from distq.replica.session import device_of  # noqa: PLC0415  # the driver needs no ONNX Runtime for it

    return device_of(WorkerSettings("auto")).partition(":")[0]


def _fetch(blob: Blob) -> bytes:
    """The bytes of a blob: the worker's own, or from Ray's object store."""
    if isinstance(blob.handle, bytes):
        return blob.handle
    if blob.weights:
        provide(blob.weights)
    import ray  # noqa: PLC0415  # this module is also imported where no Ray is wanted

    handle: Any = blob.handle
    data: bytes = ray.get(handle)
    return data
