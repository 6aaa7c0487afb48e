"""Procedures that wait for units: run side by side, they keep more workers busy than one after the other."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from typing import TypeVar

from distq.engine.executor import Unit
from distq.replica.worker import Arrays
from distq.run.context import Run

Result = TypeVar("Result")

Steps = Generator[Sequence[Unit], list[Arrays], Result]
"""Yields units whose results it needs before its next step, and returns what it comes to."""


def at_once(result: Result) -> Steps[Result]:
    """A procedure that comes to what is there and waits for nothing."""
    yield from ()
    return result


def run_side_by_side(run: Run, procedures: Sequence[Steps[Result]]) -> list[Result]:
    """Run procedures to their ends; none waits for the units of another.

    Between two steps a procedure runs nothing else on the workers.
    """
    outcomes: dict[int, Result] = {}

    def go_on(position: int, arrived: list[Arrays] | None) -> Sequence[Unit]:
        while position not in outcomes:
            try:
                units = procedures[position].send(arrived)  # type: ignore[arg-type]  # None starts it
            except StopIteration as end:
                outcomes[position] = end.value
            else:
                if units:
                    return units
                arrived = []
        return ()

    run.batches(len(procedures), go_on)
    return [outcomes[position] for position in range(len(procedures))]
