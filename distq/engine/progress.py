"""How a job tells a person where it is."""

from __future__ import annotations

from typing import Protocol


class Reporter(Protocol):
    """Shows stages, log lines and warnings; the console implements it with bars or plain lines."""

    def start(self, stage: str, total: int, unit: str) -> None:
        """Begin a stage of ``total`` things named ``unit`` (images, layers); 0: nobody knows how many."""

    def advance(self, count: int = 1) -> None:
        """So many more of the stage are done."""

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

    def finish(self) -> None:
        """Nothing."""

    def line(self, text: str) -> None:
        """Nothing."""

    def warn(self, text: str) -> None:
        """Nothing."""
