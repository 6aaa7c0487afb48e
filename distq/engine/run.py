"""Units through the journal and an executor: nothing known runs again, and results come in unit order."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

from distq.engine.executor import LOOK_AHEAD, Done, Executor, Unit
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
            arrays = _recalled(journal, unit)
            tally.recalled += 1
            reporter.advance(weight(unit))
        else:
            while position not in early:
                index, result = next(arriving)
                most_early = max(most_early, LOOK_AHEAD * executor.workers)  # workers may join
                arrived = every[missing[index]]
                _record(journal, arrived, result)
                tally.ran += 1
                reporter.advance(weight(arrived))
                if missing[index] == position or len(early) < most_early:
                    early[missing[index]] = result
                # else the unit at this position has failed, and the executor raises when it has done the
                # others
            arrays = early.pop(position)
        yield arrays


def run_batches(
    executor: Executor,
    journal: Journal | None,
    procedures: int,
    step: Callable[[int, list[Arrays] | None], Sequence[Unit]],
    tally: Tally,
) -> None:
    """Run procedures that wait for one batch of units after the other.

    No procedure waits for another, so workers stay busy where they take unlike long. Each begins where a
    worker has room, so the second is prepared while the first runs.

    Args:
        executor: runs what the journal does not know.
        journal: remembers each result the moment it arrives, except of transient units; None: nothing does.
        procedures: how many.
        step: gives the next batch of a procedure, by its number and the results of the last one in unit
            order, None where it begins; empty: it has ended.
        tally: is counted up.

    Raises:
        DistqError: as :meth:`Executor.run` does; the results that arrived before are in the journal.
        FileFormatError: a journalled result was damaged while the job ran.
    """
    units: list[Unit] = []  # grows while the executor is at it
    places: list[tuple[int, int]] = []  # procedure and position in its batch, of each unit
    results: dict[int, dict[int, Arrays]] = {}
    sizes: dict[int, int] = {}
    waiting = list(range(procedures))

    def go_on(number: int, before: list[Arrays] | None) -> None:
        while batch := step(number, before):
            known: dict[int, Arrays] = {}
            if journal is not None:
                known = {i: _recalled(journal, unit) for i, unit in enumerate(batch) if unit.key in journal}
            tally.recalled += len(known)
            missing = [i for i in range(len(batch)) if i not in known]
            if missing:
                results[number], sizes[number] = known, len(batch)
                places.extend((number, i) for i in missing)
                units.extend(batch[i] for i in missing)
                return
            before = [known[i] for i in range(len(batch))]

    def more() -> bool:
        count = len(units)
        while waiting and len(units) == count:
            go_on(waiting.pop(0), None)
        return len(units) > count

    for position, result in executor.run(units, more):
        unit, (number, i) = units[position], places[position]
        _record(journal, unit, result)
        units[position] = Done()
        tally.ran += 1
        own = results[number]
        own[i] = result
        if len(own) == sizes[number]:
            go_on(number, [own[j] for j in range(len(own))])


def _recalled(journal: Journal, unit: Unit) -> Arrays:
    arrays = journal.get(unit.key)
    if arrays is None:
        raise FileFormatError(f"the journal lost {unit.label} while it was open; start again with --resume")
    return arrays


def _record(journal: Journal | None, unit: Unit, result: Arrays) -> None:
    if journal is not None and not getattr(unit, "transient", False):
        journal.record_unit(unit.key, unit.label, result)
