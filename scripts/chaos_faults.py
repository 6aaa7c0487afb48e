"""What scripts/chaos does beside kill -9: stopped processes, full disks, too little memory, flipped bits."""

from __future__ import annotations

import contextlib
import os
import random
import re
import resource
import signal
import subprocess
from collections.abc import Sequence
from pathlib import Path

KILLED = ("actor", "raylet", "node", "driver")
OTHERS = ("stopped", "interrupt", "full disk", "memory", "flip")
KINDS = (*KILLED, *OTHERS, "paused")
ENDS_DRIVER = ("driver", "interrupt", "full disk", "flip")
"""These cost what was in flight, which the next driver cannot know."""

EXIT_CODES = {"interrupt": {130}, "full disk": {3}, "memory": {3}}
"""With which the driver may end because of a fault; it is then started again."""

MESSAGES = re.compile(
    r"(?!.*(failed with|a fault in distq))(distq|warning): .|\[\*\*\* LOG ERROR .*ray_log_sink"
)
"""What drivers may say; the last is Ray's own word on its log where the disk is full."""


def strike(
    kind: str, driver: subprocess.Popen[str], actors: Sequence[int], out: Path, choice: random.Random
) -> bool:
    """Do one of ``OTHERS`` but a flip; False where there is nothing to do it to now.

    A full disk is a limit on the size of the driver's files, too little memory one on the address space of an
    actor, both as it is now.
    """
    with contextlib.suppress(ProcessLookupError, FileNotFoundError):
        if kind == "interrupt":
            driver.send_signal(choice.choice((signal.SIGINT, signal.SIGTERM, signal.SIGHUP)))
        elif kind == "full disk":
            _limit(driver.pid, resource.RLIMIT_FSIZE, (out / "journal.jsonl").stat().st_size)
        elif not actors:
            return False
        elif kind == "stopped":
            os.kill(choice.choice(sorted(actors)), signal.SIGSTOP)
        else:
            actor = choice.choice(sorted(actors))
            pages = int(Path(f"/proc/{actor}/statm").read_text().split()[0])
            _limit(actor, resource.RLIMIT_AS, pages * resource.getpagesize())
        return True
    return False


def flip(out: Path, choice: random.Random) -> bool:
    """Flip a bit of the journal, behind its first line, or of a large result; False where there is none."""
    journal = out / "journal.jsonl"
    if not journal.exists():
        return False
    path = choice.choice([journal, *sorted(out.glob("parts/*.npz"))])
    data = bytearray(path.read_bytes())
    first = data.index(b"\n") + 1 if path == journal else 0
    if first >= len(data):
        return False
    data[choice.randrange(first, len(data))] ^= 1 << choice.randrange(8)
    path.write_bytes(data)
    return True


def _limit(process: int, kind: int, value: int) -> None:
    resource.prlimit(process, kind, (value, value))
