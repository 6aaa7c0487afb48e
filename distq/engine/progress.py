"""How a job tells a person where it is."""

from __future__ import annotations

import textwrap
from typing import Protocol

WIDTH = 80
"""Columns that every terminal has."""


class Reporter(Protocol):
    """Shows stages, log lines and warnings; the console implements it with bars or plain lines."""

    def start(self, stage: str, total: int, unit: str) -> None:
        """Begin a stage of ``total`` things named ``unit`` (images, layers); 0: nobody knows how many."""

    def advance(self, count: int = 1) -> None:
        """So many more of the stage are done."""

    def left(self, seconds: float) -> None:
        """The rest of the stage takes about so long, which its steps so far do not tell by themselves."""

    def finish(self) -> None:
        """End the stage."""

    def line(self, text: str) -> None:
        """One log line."""

    def warn(self, text: str) -> None:
        """One thing the user should know."""


class SilentReporter:
    """Shows nothing: the default of the Python interface."""

    def start(self, stage: str, total: int, unit: str) -> None:
        """Nothing."""

    def advance(self, count: int = 1) -> None:
        """Nothing."""

    def left(self, seconds: float) -> None:
        """Nothing."""

    def finish(self) -> None:
        """Nothing."""

    def line(self, text: str) -> None:
        """Nothing."""

    def warn(self, text: str) -> None:
        """Nothing."""


def about(seconds: float) -> str:
    """A time that is only known roughly: ``8 s``, ``40 s``, ``3 min``, ``1.5 h``."""
    if seconds < 10:
        return f"{max(1, round(seconds))} s"
    if seconds < 90:
        return f"{5 * round(seconds / 5)} s"
    return f"{round(seconds / 60)} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"


def folded(text: str, indent: str = "") -> list[str]:
    """A text in lines of at most ``WIDTH`` columns, those behind the first indented; names stay whole."""
    wrap = textwrap.TextWrapper(WIDTH, subsequent_indent=indent, break_long_words=False)
    wrap.break_on_hyphens = False
    return wrap.wrap(text)
