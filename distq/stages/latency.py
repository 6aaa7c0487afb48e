"""Latencies of whole networks on a worker, in turns, as their user has them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from distq.replica.timing import ROUNDS, Timing
from distq.replica.worker import Blob
from distq.run.context import Run


def seconds_in_turns(run: Run, models: Sequence[Blob]) -> npt.NDArray[np.float64]:
    """Seconds of a forward of each model in each turn, (models, turns).

    With as many threads as ``--cpus-per-worker``, as in the report. A run that is continued with the same
    device and threads takes what it had measured.

    Args:
        run: gives workers and a sample.
        models: with the same inputs.
    """
    threads = run.options.cpus_per_worker or 1
    unit = Timing(tuple(models), run.data, run.tuning[0], ROUNDS, run.executor.device, threads)
    (result,) = run.results([unit])
    return np.asarray(result["seconds"], np.float64)
