"""What a run is at, read from its journal alone: the run is not disturbed, and may be on any machine."""

from __future__ import annotations

import math
import platform
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from distq.engine.journal_read import JournalTail
from distq.run.pulse import LONGEST, WORKING
from distq.run.resuming import is_alive, is_resumed
from distq.run.rundir import RunDir
from distq.run.which_run import job_of_run
from distq.search.metrics import decibels

MOST_DECISIONS = 5
"""The last decisions that are shown."""

_GONE_SECONDS, _SILENT_SECONDS = LONGEST + 5, 4 * LONGEST
"""A run writes more often than that."""

_OF_OUTPUTS = {"default", "grid"}
"""Strategies whose diffs are of the whole network; the others measure a part of it."""

State = Literal["starting", "working", "finished", "interrupted", "failed", "silent", "gone"]


@dataclass(frozen=True)
class Worker:
    """A worker.

    Attributes:
        where: its host and process.
        doing: label of its work unit; empty where it waits.
    """

    where: str
    doing: str


@dataclass(frozen=True)
class Best:
    """The best network so far.

    Attributes:
        stage: what was done to it last; of ``auto``, its name.
        moved: thresholds that the search has moved since.
        reading: how close it is to float on the tuning samples, in words; empty where that is not known.
    """

    stage: str
    moved: int
    reading: str


@dataclass(frozen=True)
class Status:
    """A run at one time.

    Attributes:
        run: its folder.
        state: ``silent``: it has said nothing for long; ``gone``: its process has ended without a word.
        reason: why it failed.
        command, model: what it does with which network.
        stage: that it is in; ``done`` of ``total`` ``unit`` are done, of 0 nobody knows how many there are.
        rate: of the last minute, a second; None where nothing was done.
        left_s: seconds that the rest of the stage takes at this rate.
        elapsed_s: since the run began, or was continued.
        silent_s: since it last said anything.
        workers: the first of them; ``of_workers`` is how many there are.
        best: None before a network is calibrated.
        decisions: the last ones, the latest last; names, which may be of any length, come last.
        warnings: how many there were; ``warning`` is the last.
    """

    run: Path
    state: State
    reason: str = ""
    command: str = ""
    model: str = ""
    stage: str = ""
    done: int = 0
    total: int = 0
    unit: str = ""
    rate: float | None = None
    left_s: float | None = None
    elapsed_s: float = 0.0
    silent_s: float = 0.0
    workers: tuple[Worker, ...] = ()
    of_workers: int = 0
    best: Best | None = None
    decisions: tuple[str, ...] = ()
    warnings: int = 0
    warning: str = ""

    @property
    def over(self) -> bool:
        """Whether nothing more comes."""
        return self.state in {"finished", "interrupted", "failed", "gone"}


class Watcher:
    """Looks at a run again and again; each look reads what is new in the journal."""

    def __init__(self, folder: Path, clock: Callable[[], float] = time.time) -> None:
        """Begin to watch.

        Args:
            folder: of the run.
            clock: seconds of the same epoch as those that the run writes.

        Raises:
            UsageError: the folder is no run.
        """
        self._rundir, self._clock = RunDir(folder), clock
        job = job_of_run(self._rundir)
        self._in_decibels, self._auto = "diff" not in job, job.get("command") == "auto"
        self._of_outputs = job.get("strategy", "default") in _OF_OUTPUTS
        self._tail = JournalTail(self._rundir.journal)
        self._last: dict[str, Any] = {}
        self._best: dict[str, Any] = {}
        self._moved: set[str] = set()
        self._reading = self._reading_before = self._reading_kept = ""
        self._readings: dict[str, str] = {}
        self._decisions: deque[str] = deque(maxlen=MOST_DECISIONS)

    def look(self) -> Status:
        """What the run is at now.

        Raises:
            FileFormatError: its journal cannot be read.
        """
        records = self._tail.news() if self._rundir.journal.exists() else []
        for record in records:
            fields = record.get("fields")
            if isinstance(fields, dict):
                with suppress(KeyError, TypeError, ValueError):  # of another version of distq
                    self._take(str(record.get("kind", record.get("type"))), fields)
        return self._status()

    def _take(self, kind: str, fields: Mapping[str, Any]) -> None:
        match kind:
            case "status":
                self._last = dict(fields)
            case "network":
                self._best, self._moved = dict(fields), set()
                self._reading = self._readings.get(str(fields["stage"]), self._reading)
                self._reading_kept = self._reading
            case "moved" if fields["of"] == self._best.get("key"):
                self._moved.add(str(fields["name"]))
            case "layer":
                if self._of_outputs:
                    self._take_diff(fields["after"])
                self._decisions.append(_layer(fields))
            case "trial":
                self._readings[str(fields["name"])] = str(fields["reading"])
                self._decisions.append(f"{fields['reading']}: {fields['name']}")
            case "confirmed":
                self._take_confirmed(str(fields["what"]), bool(fields["lasts"]), fields["diffs"])
            case _ if "diffs" in fields:
                self._take_diff(_chosen_diff(fields))
                self._decisions.append(f"{kind}: {fields['chosen']}, of {len(fields['diffs'])}")

    def _take_confirmed(self, what: str, lasts: bool, diffs: Sequence[float | None]) -> None:  # of a record
        """A gain that does not last on samples that no choice saw is given up again."""
        if not lasts:
            searched = what == "search"
            self._reading = self._reading_kept if searched else self._reading_before
            self._moved = set() if searched else self._moved
        said = "kept" if lasts else "not kept"
        before, after = (math.inf if diff is None else diff for diff in diffs)
        self._decisions.append(f"{said}, diff {before:.4g} -> {after:.4g} on unseen samples: {what}")

    def _take_diff(self, diff: float | None) -> None:
        """Of the network of a run that has one; ``auto`` has many, and measures each by its goal."""
        if diff is not None and not self._auto:
            self._reading_before = self._reading
            self._reading = f"{decibels(diff):.2f} dB" if self._in_decibels else f"diff {diff:.4g}"

    def _status(self) -> Status:
        last, now = self._last, self._clock()
        if not last:
            return self._without_a_word(now)
        rate = self._rate()
        rest = int(last.get("total", 0)) - int(last.get("done", 0))
        state, reason = self._state(now)
        if state in {"interrupted", "failed", "gone"} and is_resumed(self._rundir, now):
            state, reason = "starting", ""
        working = state in {"working", "silent"}
        return Status(
            run=self._rundir.path,
            state=state,
            reason=reason,
            command=str(last.get("command", "")),
            model=str(last.get("model", "")),
            stage=str(last.get("stage", "")),
            done=int(last.get("done", 0)),
            total=int(last.get("total", 0)),
            unit=str(last.get("unit", "")),
            rate=rate,
            left_s=self._left(rest, rate, now) if working else None,
            elapsed_s=(now if state == "working" else float(last["time"])) - float(last["began"]),
            silent_s=now - float(last["time"]),
            workers=tuple(_workers(last)) if working else (),
            of_workers=int(last.get("of_workers", 0)),
            best=Best(str(self._best["stage"]), len(self._moved), self._reading) if self._best else None,
            decisions=tuple(self._decisions),
            warnings=int(last.get("warnings", 0)),
            warning=str(last.get("warning", "")),
        )

    def _without_a_word(self, now: float) -> Status:
        """Of a run that has just begun, or of a version of distq that says nothing of how far it is."""
        if self._rundir.finished:
            return Status(self._rundir.path, "finished")
        with suppress(OSError):
            journal = self._rundir.journal.stat()
            if now - journal.st_mtime > _SILENT_SECONDS:
                return Status(self._rundir.path, "silent", silent_s=now - journal.st_mtime)
        return Status(self._rundir.path, "starting")

    def _rate(self) -> float | None:
        last = self._last
        if "done" not in last:
            return None
        began, before = last.get("before", (last["since"], 0))
        ended, after = float(last["time"]), int(last["done"])
        return (after - before) / (ended - began) if after > before and ended > began else None

    def _left(self, rest: int, rate: float | None, now: float) -> float | None:
        """Seconds that the rest of the stage takes: as the run says, else by its rate."""
        if rest > 0 and "ends" in self._last:
            return max(0.0, float(self._last["ends"]) - now)
        return rest / rate if rate and rest > 0 else None

    def _state(self, now: float) -> tuple[State, str]:
        said = str(self._last.get("state"))
        if said != WORKING:
            kind, _, reason = said.partition(": ")
            return ("finished" if kind == "finished" else "failed" if reason else "interrupted"), reason
        silent = now - float(self._last["time"])
        here = self._last.get("host") == platform.node()
        if silent > _GONE_SECONDS and self._rundir.finished:  # it ended before it could say so
            return "finished", ""
        if here and silent > _GONE_SECONDS and not is_alive(int(self._last.get("pid", 0))):
            return "gone", ""
        return ("silent" if silent > _SILENT_SECONDS else "working"), ""


def _chosen_diff(fields: Mapping[str, Any]) -> float | None:
    names, diffs = list(fields["names"]), list(fields["diffs"])
    found = diffs[names.index(fields["chosen"])]
    return None if found is None else float(found)


def _layer(fields: Mapping[str, Any]) -> str:
    start, threshold = float(fields["start"]), float(fields["threshold"])
    change = f"{start:.4g} -> {threshold:.4g}" if fields["accepted"] else f"stays at {start:.4g}"
    return f"{change}, {fields['reason']}, {fields['scored']} scored: {fields['name']}"


def _workers(last: Mapping[str, Any]) -> Iterator[Worker]:
    for where, doing in last.get("workers", ()):
        yield Worker(str(where), str(doing))
