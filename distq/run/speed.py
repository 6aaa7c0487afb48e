"""How fast a model is beside the float one, on this machine, as a result."""

from __future__ import annotations

import numpy as np

from distq.replica.speed import ROUNDS, Timed, time_models
from distq.replica.worker import Arrays, WorkerSettings
from distq.run.figures import Latency, Speed

_MIB = 1 << 20


def speed(
    candidate: bytes,
    against: bytes | None,
    feeds: Arrays,
    settings: WorkerSettings,
    rounds: int = ROUNDS,
) -> Speed:
    """Time a model, and the float one in turns with it.

    Args:
        candidate: ONNX bytes.
        against: the float model with the same inputs; None: the candidate alone.
        feeds: one sample, by input.
        settings: device and threads.
        rounds: turns of each; ``FEW_ROUNDS`` of :mod:`distq.replica.speed` do for a report.

    Raises:
        UsageError: the device is not there.
        ExecutionError: a model does not run.
    """
    timed = time_models([candidate, *([] if against is None else [against])], feeds, settings, rounds)
    ours, theirs = timed[0], timed[1] if against is not None else None
    return Speed(
        provider=ours.provider,
        threads=settings.threads,
        runs=len(ours.seconds),
        candidate=_latency(ours),
        against=None if theirs is None else _latency(theirs),
        ratio=None if theirs is None else float(np.median(theirs.seconds) / np.median(ours.seconds)),
    )


def _latency(timed: Timed) -> Latency:
    low, median, high = (float(1000 * value) for value in np.quantile(timed.seconds, (0.1, 0.5, 0.9)))
    return Latency(
        median_ms=median,
        low_ms=low,
        high_ms=high,
        memory_mb=timed.memory / _MIB,
        file_mb=timed.file_bytes / _MIB,
    )
