"""Stories that wait for units: told together, they keep more workers busy than one by one."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from typing import TypeVar

from distq.engine.executor import Unit
from distq.jobs.context import Job
from distq.replica.worker import Arrays

Result = TypeVar("Result")

Story = Generator[Sequence[Unit], list[Arrays], Result]
"""Yields units whose results it needs before it goes on, and returns what it comes to."""


def tell_together(job: Job, stories: Sequence[Story[Result]]) -> list[Result]:
    """Run stories to their ends; what they wait for at a time runs as one batch. Their order is kept."""
    outcomes: dict[int, Result] = {}
    waiting: dict[int, Sequence[Unit]] = {}

    def go_on(position: int, arrived: list[Arrays] | None) -> None:
        try:
            waiting[position] = stories[position].send(arrived)  # type: ignore[arg-type]  # None starts it
        except StopIteration as end:
            outcomes[position] = end.value

    for position in range(len(stories)):
        go_on(position, None)
    while waiting:
        batches, waiting = waiting, {}
        results = list(job.results([unit for batch in batches.values() for unit in batch]))
        for position, batch in batches.items():
            go_on(position, results[: len(batch)])
            results = results[len(batch) :]
    return [outcomes[position] for position in range(len(stories))]
