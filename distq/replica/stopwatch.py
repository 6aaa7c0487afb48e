"""A process that opens one model as its user would, and times forwards when it is told to.

    python -m distq.replica.stopwatch MODEL.onnx FEEDS.npz DEVICE THREADS

It writes one line of JSON when the model is open, one for each number that it reads, and ends with its input.
A process of its own for each model: what the network takes of memory is then what this process takes.
"""

from __future__ import annotations

import json
import signal
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np

from distq.errors import DistqError, InputError
from distq.memory import peak_bytes, rss_bytes
from distq.replica.session import shipped_session
from distq.replica.worker import WorkerSettings

WARM = 3
"""Forwards before the first that counts: memory is taken and weights are laid out in these."""


def main(model: str, feeds: str, device: str, threads: str) -> None:
    """Open the model, then time as many forwards as each line of the standard input says."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the process that asked for the times ends this one
    before = rss_bytes()
    try:
        settings = WorkerSettings(device=device, threads=int(threads))
        session = shipped_session(Path(model).read_bytes(), settings)
        with np.load(feeds) as arrays:
            values = {str(name): arrays[f"arr_{i}"] for i, name in enumerate(arrays["names"])}
        for _ in range(WARM):
            session.run(None, values)
    except Exception as error:  # noqa: BLE001  # told to the process that asked
        _say(error=str(error), usage=isinstance(error, InputError), own=isinstance(error, DistqError))
        return
    _say(provider=session.get_providers()[0])
    for line in sys.stdin:
        seconds = []
        for _ in range(int(line)):
            start = time.perf_counter()
            session.run(None, values)
            seconds.append(time.perf_counter() - start)
        _say(seconds=seconds, memory=peak_bytes() - before)


def _say(**values: Any) -> None:  # noqa: ANN401  # what JSON holds
    sys.stdout.write(json.dumps(values) + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main(*sys.argv[1:])
