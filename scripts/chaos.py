"""Calibrate and tune the demo's network on a Ray of three nodes, and do harm to it again and again.

    scripts/chaos [--faults 100] [--seed 0] [--record FILE] [--samples 320] [--jobs calibrate,tune]

In turn, in an order and at moments that the seed decides: kill -9 of an actor; of a node's raylet; of a whole
node (both are replaced by new nodes); of the driver. An actor is stopped; a raylet, Ray's head or the driver
stands still for some seconds. The driver is interrupted, or its disk full; an actor gets no more memory; the
driver is killed and a bit flipped of what RUN holds. A driver that ended is started again with --resume. Each
run's thresholds.json and model.int8.onnx are compared with those of an undisturbed run, its journal is
searched for units that were finished twice (but for what a flip cost), and RUN, the folder of temporary files
and the processes for what is left behind. Exit code 1 where a byte differs, a unit was finished twice, a line
is no message, something is left, or a run fails or hangs.

With --record, each run is noted in that file as it ends, and the same command goes on behind the last one.
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import chaos_report
from chaos_faults import EXIT_CODES, KINDS, OTHERS, flip, strike
from chaos_machines import Machines
from chaos_run import POLL_SECONDS, Fault, Run

MOST_UNITS = 80  # between two faults
LATE_SECONDS = 0.2  # a fault comes up to so long after a unit, not just behind it
HANGING_SECONDS = 60.0
LEAVING_SECONDS = 10.0  # within which actors of a driver that ended end too


def disturb(run: Run, machines: Machines, kinds: list[str], choice: random.Random) -> int:
    """Run a job to its end and do harm to it now and then; kinds that were done leave the list.

    Returns:
        The exit code of the last driver.
    """
    over = threading.Event()
    watcher = threading.Thread(target=run.follow, args=(over,))
    watcher.start()
    driver, began = run.start(), time.monotonic()
    next_fault = choice.randint(1, MOST_UNITS)
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
        if kinds and len(run.units) >= next_fault:
            time.sleep(choice.uniform(0, LATE_SECONDS))
            before, driver = driver, harm(run, driver, machines, kinds, choice)
            began = began if driver is before else time.monotonic()
            next_fault = len(run.units) + choice.randint(1, MOST_UNITS)
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
            run.faults.append(Fault(kinds.pop(0), time.monotonic()))
        return run.start()
    if kind == "paused":
        machines.pause(driver.pid, choice)
        done = True
    elif kind in OTHERS:
        done = strike(kind, driver, machines.actors(), run.out, choice)
        run.expected |= EXIT_CODES.get(kind, set()) if done else set()
    else:
        done = machines.kill(kind, choice)
    machines.replace_dead()
    if done:
        run.faults.append(Fault(kinds.pop(0), when))
    return driver


def left_behind(machines: Machines, temporary: Path) -> Iterator[str]:
    """What is there of a run that has ended: actors, files."""
    end = time.monotonic() + LEAVING_SECONDS
    while machines.actors() and time.monotonic() < end:
        time.sleep(10 * POLL_SECONDS)
    yield from (f"process {pid}: an actor" for pid in machines.actors())
    for path in temporary.iterdir():
        yield f"a temporary file {path.name}"
        shutil.rmtree(path, ignore_errors=True)
        path.unlink(missing_ok=True)


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--faults", type=int, default=100, metavar="N")
    parser.add_argument("--seed", type=int, default=0, metavar="N")
    parser.add_argument("--record", type=Path, metavar="FILE", help="outcome of each run, to go on from")
    parser.add_argument(
        "--samples", type=int, default=320, metavar="N", help="to calibrate with, at most 328"
    )
    parser.add_argument("--jobs", default="calibrate,tune", metavar="NAME,NAME")
    parser.add_argument("--kinds", default=",".join(KINDS), metavar="KIND,KIND")
    given = parser.parse_args()
    if not Path("/proc/self/environ").exists():
        parser.error("processes are looked up in /proc: run it on Linux")
    signal.signal(signal.SIGINT, signal.default_int_handler)  # drivers would inherit a shell's ignoring it
    commands = given.jobs.split(",")
    wanted = given.kinds.split(",")
    order = random.Random(given.seed)  # noqa: S311  # moments, not secrets
    turns = itertools.chain.from_iterable(order.sample(wanted, len(wanted)) for _ in itertools.count())
    outcomes = chaos_report.read(given.record)
    done = sum(len(found["faults"]) for found in outcomes)
    kinds = list(itertools.islice(turns, given.faults))[done:]
    folder = Path(tempfile.mkdtemp(prefix="chaos-", dir="/tmp"))  # Ray's sockets need a short path
    temporary = folder / "temporary"
    temporary.mkdir()
    os.environ["TMPDIR"] = str(temporary)
    machines = Machines(folder)
    try:
        undisturbed: dict[str, Run] = {}
        for command in commands:
            alone = undisturbed[command] = Run(command, folder / command, machines.address, given.samples)
            if disturb(alone, machines, [], order) or alone.finished_twice():
                print(f"{command} fails undisturbed: {alone.errors}", file=sys.stderr)
                return 1
        while kinds:
            number = len(outcomes)
            command = commands[number % len(commands)]
            choice = random.Random(f"{given.seed}/{number}")  # noqa: S311  # the same
            run = Run(command, folder / f"{command}{number}", machines.address, given.samples)
            began = time.monotonic()
            code = disturb(run, machines, kinds, choice)
            seconds = time.monotonic() - began
            left = list(left_behind(machines, temporary))
            found = chaos_report.outcome(run, code, seconds, undisturbed[command], left)
            outcomes.append(found)
            if given.record is not None:
                with given.record.open("a", encoding="utf-8") as stream:
                    stream.write(json.dumps(found) + "\n")
            print(chaos_report.line(number, found), flush=True)
            shutil.rmtree(run.out, ignore_errors=True)
    finally:
        machines.close()
        shutil.rmtree(folder, ignore_errors=True)
    print(chaos_report.table(outcomes))
    return 1 if chaos_report.total(outcomes).total() else 0


if __name__ == "__main__":
    sys.exit(main())
