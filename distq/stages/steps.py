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


def run_side_by_side(run: Run, procedures: Sequence[Steps[Result]]) -> list[Result]:
    """Run procedures to their ends; the units they wait for at a time run as one batch, in their order."""
    outcomes: dict[int, Result] = {}
    waiting: dict[int, Sequence[Unit]] = {}

    def go_on(position: int, arrived: list[Arrays] | None) -> None:
        try:
            waiting[position] = procedures[position].send(arrived)  # type: ignore[arg-type]  # None starts it
        except StopIteration as end:
            outcomes[position] = end.value

    for position in range(len(procedures)):
        go_on(position, None)
    while waiting:
        batches, waiting = waiting, {}
        results = list(run.results([unit for batch in batches.values() for unit in batch]))
        for position, batch in batches.items():
            go_on(position, results[: len(batch)])
            results = results[len(batch) :]
    return [outcomes[position] for position in range(len(procedures))]
