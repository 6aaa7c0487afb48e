"""Calibrate and tune the demo's network on a Ray of three nodes, and kill -9 what runs them, again and again.

    scripts/chaos [--kills 100] [--seed 0] [--samples 320] [--jobs calibrate,tune]

Killed in turn, in an order and at moments that the seed decides: an actor; a node's raylet; a whole node
(both are replaced by new nodes); the driver, which is started again with --resume. Each run's thresholds.json
and model.int8.onnx are compared with those of an undisturbed run, and its journal is searched for units that
were finished twice. Exit code 1 where a byte differs, a unit was finished twice, or a run fails.
"""

from __future__ import annotations

import argparse
import contextlib
import itertools
import json
import os
import random
import re
import secrets
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

import distq

ASSETS = Path(distq.__file__).parent / "assets"
FILES = ("thresholds.json", "model.int8.onnx")
KINDS = ("actor", "raylet", "node", "driver")
NODES = 3  # of one worker each, the head among them, which stays
MOST_UNITS = 80  # between two kills
LATE_SECONDS = 0.2  # a kill comes up to so long after a unit, not just behind it
HANGING_SECONDS = 300.0
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

    def start(self) -> subprocess.Popen[str]:
        """Start the driver, which goes on where the journal ends."""
        resume = ["--resume"] if self.out.exists() else []
        tune = ["--tune-samples", str(self.samples // 4)] if self.command == "tune" else []
        command = [
            sys.executable, "-m", "distq", self.command, str(ASSETS / "digits.onnx"),
            "--data", str(ASSETS / "labels.txt"), "--preprocess", str(ASSETS / "preprocess.yaml"),
            "--samples", str(self.samples), "--holdout", "100", "--shard-size", "2", *tune,
            "--workers", str(NODES), "--address", self.address, "--quiet", "--out", str(self.out), *resume,
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
        """Units that the journal has more than once."""
        return sum(count - 1 for count in Counter(key for _, key in self.units).values())

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
                record = json.loads(line)["record"]
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
            actors = [pid for pid, name in self.processes() if name.startswith("ray::UnitActor")]
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


def _kill(pid: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)


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
    while driver.poll() is None:
        if time.monotonic() - (run.units[-1][0] if run.units else began) > HANGING_SECONDS:
            run.errors.append(f"no unit was finished for {HANGING_SECONDS:g} s")
            driver.kill()
        if kinds and len(run.units) >= next_kill:
            time.sleep(choice.uniform(0, LATE_SECONDS))
            when = time.monotonic()
            if kinds[0] == "driver":
                driver.kill()
                if driver.wait() == -signal.SIGKILL:
                    time.sleep(10 * POLL_SECONDS)  # what it had finished is not its successor's
                    run.kills.append(Kill(kinds.pop(0), time.monotonic()))
                    driver = run.start()
            elif machines.kill(kinds[0], choice):
                run.kills.append(Kill(kinds.pop(0), when))
                machines.replace_dead()
            next_kill = len(run.units) + choice.randint(1, MOST_UNITS)
        time.sleep(POLL_SECONDS)
    over.set()
    watcher.join()
    return driver.returncode


def report(runs: list[Run], undisturbed: dict[str, float], bad: Counter[str]) -> None:
    """Print what was killed and how soon it went on."""
    print(f"\n{'killed':8}{'kills':>6}{'units repeated':>16}{'recovery p50':>14}{'p95':>8}")
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
        count = "-" if kind == "driver" else str(repeated)
        print(f"{kind:8}{kills:6}{count:>16}{p50:>14}{p95:>8}")
    for command, seconds_alone in undisturbed.items():
        of_it = [run for run in runs if run.command == command]
        units = len(of_it[0].units) if of_it else 0
        print(
            f"{len(of_it)} runs of {command}, {units} units each; undisturbed it takes {seconds_alone:.1f} s"
        )
    for what in ("runs that failed", "files that differ", "units finished twice"):
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
    given = parser.parse_args()
    if not Path("/proc/self/environ").exists():
        parser.error("processes are looked up in /proc: run it on Linux")
    commands = given.jobs.split(",")
    choice = random.Random(given.seed)  # noqa: S311  # moments, not secrets
    turns = itertools.chain.from_iterable(choice.sample(KINDS, len(KINDS)) for _ in itertools.count())
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
            bad["files that differ"] += len(differing)
            bad["units finished twice"] += run.finished_twice()
            killed = ", ".join(kill.kind for kill in run.kills) or "nothing"
            outcome = "same bytes" if not (code or differing) else f"exit code {code}, differ: {differing}"
            print(f"{command}: killed {killed}: {outcome}", *run.errors, sep="\n  ", flush=True)
            shutil.rmtree(run.out, ignore_errors=True)
    finally:
        if machines is not None:
            machines.close()
        shutil.rmtree(folder, ignore_errors=True)
    report(runs, undisturbed, bad)
    return 1 if bad.total() else 0


if __name__ == "__main__":
    sys.exit(main())
