"""What a person sees while a job runs: a bar in a terminal, plain lines elsewhere, nothing when quiet.

All of it goes to stderr; stdout is for results.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable
from typing import TextIO

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, ProgressColumn, Task, TextColumn
from rich.text import Text

from distq.engine.progress import Reporter, SilentReporter

_PLAIN_STEP = 0.1  # a plain line at most every tenth of a stage ...
_PLAIN_GAP_SECONDS = 2.0  # ... and not more often than this,
_PLAIN_SILENCE_SECONDS = 15.0  # but something is said after so long when anything moved


def make_reporter(*, quiet: bool, json: bool) -> Reporter:
    """The reporter that fits: quiet shows warnings only, --json keeps to plain lines."""
    if quiet:
        return QuietReporter(sys.stderr)
    terminal = sys.stderr.isatty() and os.environ.get("TERM", "dumb") != "dumb"
    return RichReporter() if terminal and not json else PlainReporter(sys.stderr)


class QuietReporter(SilentReporter):
    """Shows warnings and nothing else."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def warn(self, text: str) -> None:
        """Print a warning."""
        self._print(f"warning: {text}")

    def _print(self, text: str) -> None:
        self._stream.write(text + "\n")
        self._stream.flush()


class PlainReporter(QuietReporter):
    """Lines without any control characters: for logs, pipes and CI."""

    def __init__(self, stream: TextIO, clock: Callable[[], float] = time.monotonic) -> None:
        super().__init__(stream)
        self._clock = clock
        self._stage = self._unit = ""
        self._total = self._done = self._printed = 0
        self._started = self._spoke = 0.0
        self._ends: float | None = None  # as the job says

    def start(self, stage: str, total: int, unit: str) -> None:
        """Print what begins."""
        self.finish()
        self._stage, self._total, self._unit = stage, total, unit
        self._done = self._printed = 0
        self._started = self._spoke = self._clock()
        self._ends = None
        self._print(f"{stage}: {total} {unit}" if total else f"{stage}: {unit}")

    def advance(self, count: int = 1) -> None:
        """Print how far the stage is, when that is news."""
        if not self._stage:  # work that no stage shows
            return
        self._done += count
        silence = self._clock() - self._spoke
        news = self._done - self._printed >= self._total * _PLAIN_STEP
        if (news and silence >= _PLAIN_GAP_SECONDS) or silence >= _PLAIN_SILENCE_SECONDS:
            self._say()

    def left(self, seconds: float) -> None:
        """Print this in place of what the rate comes to."""
        self._ends = self._clock() + seconds

    def finish(self) -> None:
        """Print where the stage ended, once."""
        if self._stage and self._printed < self._done:
            self._say()
        self._stage = ""

    def line(self, text: str) -> None:
        """Print a log line."""
        self._print(text)

    def _say(self) -> None:
        now = self._clock()
        elapsed = now - self._started
        total = f"/{self._total}" if self._total else ""  # 0: nobody knows
        parts = [f"{self._stage}: {self._done}{total} {self._unit}"]
        if self._done and elapsed > 0:
            parts.append(rate(self._done / elapsed, self._unit))
            left = (self._total - self._done) * elapsed / self._done
            if left > 0 and self._ends is not None:
                left = max(1.0, self._ends - now)
            parts.append(f"{duration(left)} left" if left > 0 else f"took {duration(elapsed)}")
        self._print(", ".join(parts))
        self._spoke, self._printed = now, self._done


class RichReporter:
    """A bar with rate and time left; log lines scroll by above it."""

    def __init__(self, console: Console | None = None) -> None:
        self._console = console or Console(stderr=True)
        self._progress: Progress | None = None

    def start(self, stage: str, total: int, unit: str) -> None:
        """Show a bar, short of the terminal's edge: a ^C echoed behind it must not break the line."""
        self.finish()
        self._progress = Progress(
            TextColumn("{task.description}", style="bold", markup=False),
            BarColumn(bar_width=max(4, min(40, self._console.width - len(stage) - 50))),
            MofNCompleteColumn(),
            TextColumn("{task.fields[unit]}", markup=False),
            _SpeedColumn(),
            _TimeColumn(),
            console=self._console,
        )
        self._progress.add_task(stage, total=total or None, unit=unit)
        self._progress.start()

    def advance(self, count: int = 1) -> None:
        """Move the bar."""
        if self._progress is not None:
            self._progress.advance(self._progress.task_ids[0], count)

    def left(self, seconds: float) -> None:
        """Show this in place of what the rate comes to."""
        if self._progress is not None:
            self._progress.update(self._progress.task_ids[0], ends=time.monotonic() + seconds)

    def finish(self) -> None:
        """Leave the bar as it stands and stop redrawing it."""
        if self._progress is not None:
            self._progress.stop()
            self._progress = None

    def line(self, text: str) -> None:
        """Print a log line above the bar."""
        self._console.print(Text(text), soft_wrap=True)

    def warn(self, text: str) -> None:
        """Print a warning above the bar."""
        self._console.print(Text.assemble(("warning: ", "yellow"), text), soft_wrap=True)


class _SpeedColumn(ProgressColumn):
    def render(self, task: Task) -> Text:
        speed, unit = task.finished_speed or task.speed, str(task.fields["unit"])
        # the unit stands in front of it
        return Text(rate(speed, unit).replace(f" {unit}/s", "/s") if speed else "", style="cyan")


class _TimeColumn(ProgressColumn):
    max_refresh = 0.5

    def render(self, task: Task) -> Text:
        if task.finished:
            return Text(f"took {duration(task.finished_time or 0.0)}", style="green")
        ends = task.fields.get("ends")
        left = task.time_remaining if ends is None else max(0.0, ends - time.monotonic())
        return Text(f"{duration(left)} left" if left is not None else "", style="green")


def rate(per_second: float, unit: str) -> str:
    """A rate as a person says it: ``12 images/s``, ``3.2 s/layer``."""
    if per_second >= 1:
        return f"{per_second:.3g} {unit}/s" if per_second < 1000 else f"{per_second:.0f} {unit}/s"
    return f"{1 / per_second:.3g} s/{unit.removesuffix('s')}"


def duration(seconds: float) -> str:
    """A time as a person says it: ``1 h 20 min``, ``4 min 05 s``, ``0.3 s``."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours} h {minutes:02} min"
    if minutes:
        return f"{minutes} min {rest:02} s"
    return f"{rest} s" if seconds >= 1 else f"{seconds:.1f} s"
