"""The executor that the options ask for."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from distq.config import CommonOptions
from distq.engine.executor import Pool
from distq.engine.local import LocalExecutor
from distq.engine.ray_cluster import machine_cores
from distq.engine.ray_folder import remove_abandoned_folders
from distq.engine.ray_pool import RayExecutor
from distq.errors import UsageError
from distq.replica.worker import WorkerSettings

MOST_TOGETHER = 4
"""Samples that the one worker of ``--executor local`` works on at a time: each takes memory of its own."""


def open_executor(options: CommonOptions, on_event: Callable[[str], None]) -> Pool:
    """Open the executor of ``--executor``; close it, or use it in a ``with`` block.

    Temporary folders of killed processes of distq are removed on the way.

    Args:
        options: of any job.
        on_event: takes one line for what a person should know: a lost worker, an option without effect.

    Raises:
        UsageError: there is no Ray at ``--address``, or it has less than was asked for.
        ExecutionError: Ray does not start on this machine.
    """
    if options.gpus_per_worker is not None and options.device == "cpu":
        raise UsageError(
            f"--gpus-per-worker {options.gpus_per_worker:g}: the workers compute on the processor; "
            "take --device cuda or auto with it, or leave it out"
        )
    remove_abandoned_folders()
    settings = WorkerSettings(
        device=options.device,
        cache_bytes=None if options.cache_memory is None else options.cache_memory << 20,
        decode_threads=options.decode_workers or options.cpus_per_worker or 1,
        decode_actors=options.decode_workers or 0,
        gpu_part=options.gpus_per_worker or 1.0,
    )
    if options.executor == "ray":
        return RayExecutor(
            options.workers,
            settings,
            options.address,
            cpus=options.cpus_per_worker,
            gpus=options.gpus_per_worker,
            retries=options.retries,
            unit_timeout=options.unit_timeout,
            wait_seconds=options.wait_for_workers,
            on_event=on_event,
        )
    if options.workers not in {None, 1}:
        on_event(f"--executor local runs one worker; --workers {options.workers} has no effect")
    settings = replace(settings, together=options.cpus_per_worker or min(machine_cores(), MOST_TOGETHER))
    return LocalExecutor(
        settings, retries=options.retries, unit_timeout=options.unit_timeout, on_event=on_event
    )
