"""Latency of models on this machine, side by side: each in a process of its own, in turns."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from distq.ending import temporary_folder
from distq.errors import ExecutionError, UsageError
from distq.graph.weight_files import outside_bytes
from distq.replica.worker import Arrays, WorkerSettings

ROUNDS, FEW_ROUNDS = 20, 5
"""Turns of each model: for a measurement, and for a line in a report."""

_TURN_SECONDS = 0.1
"""A turn of the slowest model takes at least so long, so that a short pause of the machine is part of it."""

_MOST_RUNS = 50
"""Forwards in one turn."""


@dataclass(frozen=True)
class Timed:
    """What one model took.

    Attributes:
        seconds: of each forward, (runs,).
        memory: bytes of the process above what it had before it opened the model, at most.
        file_bytes: of the model's file and the weights beside it.
        provider: ONNX Runtime's execution provider that ran it.
    """

    seconds: npt.NDArray[np.float64]
    memory: int
    file_bytes: int
    provider: str


def time_models(
    models: Sequence[bytes], feeds: Arrays, settings: WorkerSettings, rounds: int = ROUNDS
) -> list[Timed]:
    """Time the forwards of models on one sample, by ONNX Runtime with its own settings.

    The models take turns, so that whatever else the machine does falls on all of them alike. Each has a
    process of its own, so that its peak memory is known.

    Args:
        models: as ONNX bytes, with the same inputs.
        feeds: of one sample, by input.
        settings: device and threads of a session.
        rounds: turns of each model.

    Raises:
        UsageError: the device is not there.
        ExecutionError: a model does not run.
    """
    with temporary_folder("distq-speed-") as folder, ExitStack() as stack:
        watches = []
        for i, model in enumerate(models):
            watches.append(_Stopwatch(folder / str(i), model, feeds, settings))
            stack.callback(watches[-1].end)
        for watch in watches:
            watch.wait()
        first = [watch.time(1) for watch in watches]
        slowest = max(seconds[0] for seconds in first)
        runs = min(max(1, round(_TURN_SECONDS / max(slowest, 1e-6))), _MOST_RUNS)
        turns = [[watch.time(runs) for watch in watches] for _ in range(rounds)]
        return [
            Timed(
                seconds=np.concatenate([turn[i] for turn in turns]),
                memory=watch.memory,
                file_bytes=len(model) + outside_bytes(model),
                provider=watch.provider,
            )
            for i, (watch, model) in enumerate(zip(watches, models, strict=True))
        ]


class _Stopwatch:
    """A process with one model; see :mod:`distq.replica.stopwatch`."""

    def __init__(self, folder: Path, model: bytes, feeds: Arrays, settings: WorkerSettings) -> None:
        folder.mkdir()
        (folder / "model.onnx").write_bytes(model)
        np.savez(folder / "feeds.npz", *feeds.values(), names=np.array(list(feeds), np.str_))
        package = Path(__file__).parents[2]
        path = os.pathsep.join([str(package), *filter(None, [os.environ.get("PYTHONPATH")])])
        self.memory, self.provider = 0, ""
        self._process = subprocess.Popen(  # noqa: S603  # this Python, with a module of distq
            [
                *(sys.executable, "-m", "distq.replica.stopwatch"),
                *(str(folder / "model.onnx"), str(folder / "feeds.npz")),
                *(settings.device, str(settings.threads)),
            ],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            env={**os.environ, "PYTHONPATH": path},
        )

    def wait(self) -> None:
        """Until the model is open."""
        self.provider = self._read()["provider"]

    def end(self) -> None:
        """End the process."""
        self._process.kill()
        self._process.communicate()

    def time(self, runs: int) -> npt.NDArray[np.float64]:
        """Seconds of each of so many forwards."""
        assert self._process.stdin is not None  # noqa: S101  # a pipe was asked for
        try:
            self._process.stdin.write(f"{runs}\n")
            self._process.stdin.flush()
        except BrokenPipeError:
            pass  # said by what it does not answer
        found = self._read()
        self.memory = found["memory"]
        return np.array(found["seconds"])

    def _read(self) -> dict[str, Any]:
        assert self._process.stdout is not None  # noqa: S101  # a pipe was asked for
        line = self._process.stdout.readline()
        if not line:
            code = self._process.wait()
            raise ExecutionError(
                f"--speed: the process that times a model ended with code {code}; was there enough memory?"
            )
        found: dict[str, Any] = json.loads(line)
        if "error" in found:
            failed = UsageError if found["usage"] else ExecutionError
            raise failed(found["error"] if found["own"] else f"--speed: {found['error']}")
        return found
