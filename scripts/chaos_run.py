"""One job that scripts/chaos does harm to: its driver, its journal, and what it says."""

from __future__ import annotations

import contextlib
import itertools
import json
import re
import subprocess
import sys
import threading
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

from chaos_machines import NODES

import distq

ASSETS = Path(distq.__file__).parent / "assets"
FILES = ("thresholds.json", "model.int8.onnx")
UNIT_SECONDS = 10.0  # --unit-timeout
POLL_SECONDS = 0.01
_REQUEUED = re.compile(r"lost a worker on .*; again: (.*)")


@dataclass(frozen=True)
class Fault:
    """One fault, in seconds of ``time.monotonic``."""

    kind: str
    when: float


@dataclass
class Run:
    """A job and its journal while it is killed and resumed.

    Attributes:
        units: when each was seen to be finished, and its key.
        again: when distq said that units are run again, and how many.
    """

    command: str
    out: Path
    address: str
    samples: int
    faults: list[Fault] = field(default_factory=list)
    units: list[tuple[float, str]] = field(default_factory=list)
    again: list[tuple[float, int]] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)
    flips: list[int] = field(default_factory=list)  # units there were then
    expected: set[int] = field(default_factory=set)  # exit codes, because of what was done

    def start(self) -> subprocess.Popen[str]:
        """Start the driver, which goes on where the journal ends."""
        resume = ["--resume"] if self.out.exists() else []
        tune = ["--tune-samples", str(self.samples // 4)] if self.command == "tune" else []
        command = [
            sys.executable, "-m", "distq", self.command, str(ASSETS / "digits.onnx"),
            "--data", str(ASSETS / "labels.txt"), "--preprocess", str(ASSETS / "preprocess.yaml"),
            "--samples", str(self.samples), "--holdout", "100", "--shard-size", "2", *tune,
            "--workers", str(NODES), "--address", self.address, "--unit-timeout", str(UNIT_SECONDS),
            "--quiet", "--out", str(self.out), *resume,
        ]  # fmt: skip
        driver = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
        threading.Thread(target=self._listen, args=(driver.stderr,), daemon=True).start()
        return driver

    def follow(self, over: threading.Event) -> None:
        """Watch the journal grow until the run is over."""
        position = 0
        while not over.wait(POLL_SECONDS):
            position = self._take_in(position)
        self._take_in(position)

    def finished_twice(self) -> int:
        """Units that the journal has more than once, of those between two flips."""
        ends = [0, *self.flips, len(self.units)]
        between = (Counter(key for _, key in self.units[a:b]) for a, b in itertools.pairwise(ends))
        return sum(count - 1 for counts in between for count in counts.values())

    def content(self) -> dict[str, bytes]:
        """The files that must not change."""
        return {name: (self.out / name).read_bytes() for name in FILES if (self.out / name).exists()}

    def names(self) -> set[str]:
        """Names of all that lies in RUN."""
        return {path.relative_to(self.out).as_posix() for path in self.out.rglob("*")}

    def _take_in(self, position: int) -> int:
        """Read what the journal says behind a position; returns where its last whole line ends."""
        with contextlib.suppress(FileNotFoundError), (self.out / "journal.jsonl").open("rb") as journal:
            journal.seek(position)
            for line in journal:
                if not line.endswith(b"\n"):
                    break
                position += len(line)
                try:
                    record = json.loads(line)["record"]
                except ValueError:  # a flipped bit
                    continue
                if record["type"] == "unit":
                    self.units.append((time.monotonic(), record["key"]))
        return position

    def _listen(self, stream: IO[str]) -> None:
        for line in stream:
            requeued = _REQUEUED.search(line)
            if requeued:
                self.again.append((time.monotonic(), requeued[1].count(" and ") + 1))
            else:
                self.errors.append(line.rstrip())
