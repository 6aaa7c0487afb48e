"""What two processes that share nothing get out of two cores, against one alone: no two workers get more.

Cores of a virtual machine may be two threads of one, and share caches and memory with others.
"""

from __future__ import annotations

import multiprocessing
import statistics
import time
from collections.abc import Mapping
from contextlib import ExitStack
from multiprocessing.connection import Connection
from typing import Any

from distq.replica.session import Session, is_float
from distq.replica.worker import WorkerSettings


def throughput_of_two(model: bytes, feeds: Mapping[str, Any], repeats: int = 10) -> float:
    """Forwards a second of two processes, times those of one alone; the median of repeats that take turns."""
    spawn = multiprocessing.get_context("spawn")
    pipes = [spawn.Pipe() for _ in range(2)]
    ends = [own for own, _ in pipes]
    processes = [spawn.Process(target=_run, args=(other, model, feeds), daemon=True) for _, other in pipes]
    with ExitStack() as stack:
        for process in processes:
            process.start()
            stack.callback(process.terminate)
        ratios = []
        _rates(ends, 0.1)  # both are there
        for repeat in range(repeats):
            alone = _rates(ends[repeat % 2 :][:1])
            ratios.append(_rates(ends) / alone)
    return statistics.median(ratios)


def _rates(ends: list[Connection], seconds: float = 0.3) -> float:
    """Forwards a second of these processes together."""
    for end in ends:
        end.send(seconds)
    return sum(float(end.recv()) for end in ends)


def _run(end: Connection, model: bytes, feeds: Mapping[str, Any]) -> None:
    session = Session(model, WorkerSettings(), fused=True, float_network=is_float(model))
    while True:
        seconds, forwards, began = end.recv(), 0, time.perf_counter()
        while time.perf_counter() - began < seconds:
            session.run(feeds)
            forwards += 1
        end.send(forwards / (time.perf_counter() - began))
