"""Calibrate and tune the demo's network on a Ray of three nodes, and do harm to it again and again.

    scripts/chaos [--kills 100] [--seed 0] [--samples 320] [--jobs calibrate,tune] [--kinds actor,driver]

In turn, in an order and at moments that the seed decides: kill -9 of an actor; of a node's raylet; of a whole
node (both are replaced by new nodes); of the driver. An actor is stopped. The driver is interrupted, or its
disk full; an actor gets no more memory; the driver is killed and a bit flipped of what RUN holds. A driver
that ended is started again with --resume. Each run's thresholds.json and model.int8.onnx are compared with
those of an undisturbed run, and its journal is searched for units that were finished twice (but for what a
flip cost). Exit code 1 where a byte differs, a unit was finished twice, a line is no message, or a run fails
or hangs.
"""

from __future__ import annotations

import argparse
import contextlib
import itertools
import json
import random
import re
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

from chaos_faults import EXIT_CODES, KINDS, MESSAGES, OTHERS, flip, strike
from chaos_machines import NODES, Machines

import distq

ASSETS = Path(distq.__file__).parent / "assets"
FILES = ("thresholds.json", "model.int8.onnx")
MOST_UNITS = 80  # between two kills
LATE_SECONDS = 0.2  # a kill comes up to so long after a unit, not just behind it
HANGING_SECONDS = 60.0
UNIT_SECONDS = 10.0  # --unit-timeout
POLL_SECONDS = 0.01
_REQUEUED = re.compile(r"lost a worker on .*; again: (.*)")


@dataclass(frozen=True)
class Kill:
    """One kill, in seconds of ``time.monotonic``."""

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
    kills: list[Kill] = field(default_factory=list)
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


def disturb(run: Run, machines: Machines, kinds: list[str], choice: random.Random) -> int:
    """Run a job to its end and kill something of it now and then; kinds that were killed leave the list.

    Returns:
        The exit code of the last driver.
    """
    over = threading.Event()
    watcher = threading.Thread(target=run.follow, args=(over,))
    watcher.start()
    driver, began = run.start(), time.monotonic()
    next_kill = choice.randint(1, MOST_UNITS)
    while driver.poll() is None or driver.returncode in run.expected:
        if driver.poll() is not None:
            run.expected = set()
            driver, began = run.start(), time.monotonic()
        last = max(began, run.units[-1][0] if run.units else began)
        if time.monotonic() - last > HANGING_SECONDS:
            run.errors.append(f"no unit was finished for {HANGING_SECONDS:g} s")
            driver.kill()
            driver.wait()
            break
        if kinds and len(run.units) >= next_kill:
            time.sleep(choice.uniform(0, LATE_SECONDS))
            before, driver = driver, harm(run, driver, machines, kinds, choice)
            began = began if driver is before else time.monotonic()
            next_kill = len(run.units) + choice.randint(1, MOST_UNITS)
        time.sleep(POLL_SECONDS)
    over.set()
    watcher.join()
    return driver.returncode


def harm(
    run: Run, driver: subprocess.Popen[str], machines: Machines, kinds: list[str], choice: random.Random
) -> subprocess.Popen[str]:
    """Do the first of ``kinds``, and take it from the list, if there is something to do it to.

    Returns:
        The driver then.
    """
    kind, when = kinds[0], time.monotonic()
    if kind in {"driver", "flip"}:
        driver.kill()
        if driver.wait() != -signal.SIGKILL:  # it had just ended by itself
            return driver
        time.sleep(10 * POLL_SECONDS)  # what it had finished is not its successor's
        if kind == "driver" or flip(run.out, choice):
            run.flips += [len(run.units)] if kind == "flip" else []
            run.kills.append(Kill(kinds.pop(0), time.monotonic()))
        return run.start()
    if kind in OTHERS:
        done = strike(kind, driver, machines.actors(), run.out, choice)
        run.expected |= EXIT_CODES.get(kind, set()) if done else set()
    else:
        done = machines.kill(kind, choice)
        machines.replace_dead()
    if done:
        run.kills.append(Kill(kinds.pop(0), when))
    return driver


def report(runs: list[Run], undisturbed: dict[str, float], bad: Counter[str]) -> None:
    """Print what was killed and how soon it went on."""
    print(f"\n{'fault':10}{'times':>6}{'units repeated':>16}{'recovery p50':>14}{'p95':>8}")
    for kind in (*KINDS, "all"):
        kills = repeated = 0
        seconds: list[float] = []
        for run in runs:
            for kill, following in itertools.pairwise([*run.kills, Kill("end", float("inf"))]):
                if kind in {kill.kind, "all"}:
                    kills += 1
                    after = [when - kill.when for when, _ in run.units if when > kill.when]
                    seconds += after[:1]
                    repeated += sum(n for when, n in run.again if kill.when < when <= following.when)
        p50, p95 = (f"{s:.2f} s" for s in percentiles(seconds)) if seconds else ("-", "-")
        count = "-" if kind in {"driver", "flip", "interrupt", "full disk"} else str(repeated)
        if kills:
            print(f"{kind:10}{kills:6}{count:>16}{p50:>14}{p95:>8}")
    for command, seconds_alone in undisturbed.items():
        of_it = [run for run in runs if run.command == command]
        units = len(of_it[0].units) if of_it else 0
        print(
            f"{len(of_it)} runs of {command}, {units} units each; undisturbed it takes {seconds_alone:.1f} s"
        )
    for what in (
        "lines that are no message",
        "runs that failed",
        "files that differ",
        "units finished twice",
    ):
        print(f"{what}: {bad[what]}")


def percentiles(values: list[float]) -> tuple[float, float]:
    """The 50th and the 95th."""
    if len(values) == 1:
        return values[0], values[0]
    cuts = statistics.quantiles(values, n=20, method="inclusive")
    return cuts[9], cuts[18]


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--kills", type=int, default=100, metavar="N")
    parser.add_argument("--seed", type=int, default=0, metavar="N")
    parser.add_argument(
        "--samples", type=int, default=320, metavar="N", help="to calibrate with, at most 328"
    )
    parser.add_argument("--jobs", default="calibrate,tune", metavar="NAME,NAME")
    parser.add_argument("--kinds", default=",".join(KINDS), metavar="KIND,KIND")
    given = parser.parse_args()
    if not Path("/proc/self/environ").exists():
        parser.error("processes are looked up in /proc: run it on Linux")
    commands = given.jobs.split(",")
    wanted = given.kinds.split(",")
    choice = random.Random(given.seed)  # noqa: S311  # moments, not secrets
    turns = itertools.chain.from_iterable(choice.sample(wanted, len(wanted)) for _ in itertools.count())
    kinds = list(itertools.islice(turns, given.kills))
    folder = Path(tempfile.mkdtemp(prefix="chaos-", dir="/tmp"))  # Ray's sockets need a short path
    machines: Any = None
    runs: list[Run] = []
    bad: Counter[str] = Counter()
    expected: dict[str, dict[str, bytes]] = {}
    undisturbed: dict[str, float] = {}
    try:
        machines = Machines(folder)
        for command in commands:
            began = time.monotonic()
            alone = Run(command, folder / command, machines.address, given.samples)
            if disturb(alone, machines, [], choice) or alone.finished_twice():
                print(f"{command} fails undisturbed: {alone.errors}", file=sys.stderr)
                return 1
            expected[command], undisturbed[command] = alone.content(), time.monotonic() - began
        for number in itertools.count():
            if not kinds:
                break
            command = commands[number % len(commands)]
            run = Run(command, folder / f"{command}{number}", machines.address, given.samples)
            code = disturb(run, machines, kinds, choice)
            runs.append(run)
            found = run.content()
            differing = [name for name in FILES if found.get(name) != expected[command].get(name)]
            bad["runs that failed"] += code != 0
            bad["lines that are no message"] += sum(not line.startswith(MESSAGES) for line in run.errors)
            bad["files that differ"] += len(differing)
            bad["units finished twice"] += run.finished_twice()
            killed = ", ".join(kill.kind for kill in run.kills) or "nothing"
            outcome = "same bytes" if not (code or differing) else f"exit code {code}, differ: {differing}"
            print(f"{command}: {killed}: {outcome}", *run.errors, sep="\n  ", flush=True)
            shutil.rmtree(run.out, ignore_errors=True)
    finally:
        if machines is not None:
            machines.close()
        shutil.rmtree(folder, ignore_errors=True)
    report(runs, undisturbed, bad)
    return 1 if bad.total() else 0


if __name__ == "__main__":
    sys.exit(main())
