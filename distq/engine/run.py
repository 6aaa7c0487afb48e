"""Units through the journal and an executor: nothing known runs again, and results come in unit order."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

from distq.engine.executor import LOOK_AHEAD, Executor, Unit
from distq.engine.journal import Journal
from distq.engine.progress import Reporter
from distq.errors import FileFormatError
from distq.replica.worker import Arrays


@dataclass
class Tally:
    """How many units a job has run, and how many it found in its journal."""

    ran: int = 0
    recalled: int = 0


def _one(unit: Unit) -> int:
    del unit
    return 1


def run_units(
    executor: Executor,
    journal: Journal | None,
    units: Iterable[Unit],
    reporter: Reporter,
    *,
    weight: Callable[[Unit], int] = _one,
    tally: Tally | None = None,
) -> Iterator[Arrays]:
    """Yield the results of units in their order.

    Each result is journalled the moment it arrives, also when an earlier one is still out. Memory is bounded:
    known results are read from disk one at a time, and results that arrive early are at most as many as an
    executor starts ahead (LOOK_AHEAD per worker).

    Args:
        executor: runs what the journal does not know.
        journal: None where nothing is to be remembered; it never remembers a transient unit.
        units: small objects; all of them are held at once.
        reporter: is told of every finished unit, new or known; its stage was started by the caller.
        weight: what a unit counts in the reporter's stage, such as its number of images.
        tally: is counted up, so that one can go through a whole job.

    Raises:
        DistqError: as :meth:`Executor.run` does; the results that arrived before are in the journal.
        FileFormatError: a journalled result was damaged while the job ran.
    """
    tally = Tally() if tally is None else tally
    every = tuple(units)
    known = set() if journal is None else {unit.key for unit in every if unit.key in journal}
    missing = [position for position, unit in enumerate(every) if unit.key not in known]
    arriving = executor.run([every[position] for position in missing])
    early: dict[int, Arrays] = {}
    most_early = LOOK_AHEAD * executor.workers
    for position, unit in enumerate(every):
        if journal is not None and unit.key in known:
            arrays = journal.get(unit.key)
            if arrays is None:
                raise FileFormatError(
                    f"the journal lost {unit.label} while it was open; start again with --resume"
                )
            tally.recalled += 1
            reporter.advance(weight(unit))
        else:
            while position not in early:
                index, result = next(arriving)
                most_early = max(most_early, LOOK_AHEAD * executor.workers)  # workers may join
                arrived = every[missing[index]]
                if journal is not None and not getattr(arrived, "transient", False):
                    journal.record_unit(arrived.key, arrived.label, result)
                tally.ran += 1
                reporter.advance(weight(arrived))
                if missing[index] == position or len(early) < most_early:
                    early[missing[index]] = result
                # else the unit at this position has failed, and the executor raises when it has done the
                # others
            arrays = early.pop(position)
        yield arrays
