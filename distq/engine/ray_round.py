"""One run of units over the actors of a pool: submit, wait, collect, and requeue what was lost."""

from __future__ import annotations

import math
import time
from bisect import bisect_left, insort
from collections.abc import Callable, Generator, Iterator, Sequence
from typing import Any

from distq.engine.attempt import unexpected
from distq.engine.executor import LOOK_AHEAD, More, Unit
from distq.engine.lost_workers import LOW, RAY_ENDED_IT, TooSlow, first_line, poison, reason_of
from distq.engine.placement import described
from distq.engine.ray_cluster import RayCluster
from distq.engine.ray_decoders import DecoderLost
from distq.engine.ray_seat import Seat
from distq.engine.raylet import GONE
from distq.engine.stalls import Stalls, stalled
from distq.errors import DistqError, ExecutionError
from distq.replica.worker import Arrays, own

_IN_FLIGHT = 2  # the second is already there when the first ends
_WAIT_SECONDS = 1.0


class Round:
    """State of one run: what waits, what was tried how often, what failed."""

    def __init__(
        self,
        cluster: RayCluster,
        seats: list[Seat],
        units: Sequence[Unit],
        more: More,
        *,
        retries: int,
        unit_timeout: float | None,
        stalls: Stalls,
        start_seconds: float,
        on_event: Callable[[str], None],
        processors: dict[str, str] | None,
        attend: Callable[[], None],
    ) -> None:
        self._cluster = cluster
        self._ray = cluster.ray
        self._seats = seats
        self._units = units
        self._more = more
        self._retries = retries
        self._unit_timeout = math.inf if unit_timeout is None else unit_timeout
        self._stalls = stalls
        self._start_seconds = start_seconds
        self._on_event = on_event
        self._processors = processors  # kind of processor and who has it; None where it does not matter
        self._attend = attend  # may add seats, or end the run
        self._waiting: list[int] = []  # in order
        self._known = 0  # units seen so far; more may be appended
        self._lost: dict[int, list[str]] = {}  # where a unit's workers were lost
        self._failures: dict[int, DistqError] = {}
        self._finished: set[int] = set()
        self._lowest_unfinished = 0
        self._told_missing = False
        self._look_again = 0.0

    def results(self) -> Generator[tuple[int, Arrays]]:
        """Yield (position, result) as units finish.

        Raises:
            DistqError: of the failed unit that comes first, when no other can still come before it.
        """
        for seat in self._seats:
            seat.open()
        try:
            while self._wanted() or any(seat.in_flight for seat in self._seats) or self._asked():
                self._attend()
                self._submit()
                if self._rooms() and self._asked():
                    continue
                yield from self._collect()
        finally:
            for seat in self._seats:
                if seat.in_flight:
                    seat.leave()
        if self._failures:
            raise self._failures[min(self._failures)]

    def _wanted(self) -> bool:
        """Whether units wait; those that were appended do, unless the run ends with a failure."""
        if not self._failures:
            self._waiting.extend(range(self._known, len(self._units)))
            self._known = len(self._units)
        return bool(self._waiting)

    def _asked(self) -> bool:
        return not self._failures and self._more() and self._wanted()

    def _rooms(self) -> list[Seat]:
        return [seat for seat in self._seats if seat.ready and len(seat.in_flight) < _IN_FLIGHT]

    def _submit(self) -> None:
        free = self._rooms()
        if not free:
            return
        ahead = bisect_left(self._waiting, self._lowest_unfinished + LOOK_AHEAD * len(self._seats))
        for position in self._waiting[:ahead]:
            seat = self._seat_for(position, free)
            if seat is None:
                continue
            del self._waiting[bisect_left(self._waiting, position)]
            seat.give(position, self._units[position])
            if len(seat.in_flight) == _IN_FLIGHT:
                free.remove(seat)
                if not free:
                    return

    def _seat_for(self, position: int, free: list[Seat]) -> Seat | None:
        """The seat of the unit's affinity, an idle one where that is full, or the least busy of all."""
        affinity = getattr(self._units[position], "affinity", None)
        if affinity is None:
            room = (seat for seat in free if self._takes(seat, position))
            return min(room, key=lambda seat: len(seat.in_flight), default=None)
        preferred: Seat = self._seats[affinity % len(self._seats)]
        if preferred in free and self._takes(preferred, position):
            return preferred
        return next((seat for seat in free if not seat.in_flight), None)

    def _takes(self, seat: Seat, position: int) -> bool:
        """Whether a seat with room takes the unit beside what it has.

        A unit whose worker was lost before runs alone, so that it is known which one ends the process.
        """
        alone = position in self._lost or (bool(seat.in_flight) and seat.in_flight[0][0] in self._lost)
        return not (alone and seat.in_flight)

    def _collect(self) -> Iterator[tuple[int, Arrays]]:
        awaited = {seat.awaited: seat for seat in self._seats if seat.awaited is not None}
        self._cluster.require_head()
        done, _ = self._ray.wait(list(awaited), num_returns=1, timeout=_WAIT_SECONDS)
        self._check_started()
        if self._check_busy():
            return
        for reference in done:
            seat = awaited[reference]
            if not seat.ready:
                self._greet(seat)
                continue
            position = seat.in_flight[0][0]
            outcome = self._outcome(seat, position, reference)
            if isinstance(outcome, DistqError):
                self._fail(position, outcome)
                self._drop_after(position)
            elif outcome is not None:
                self._finish(position)
                yield position, outcome

    def _outcome(self, seat: Seat, position: int, reference: Any) -> Arrays | DistqError | None:  # noqa: ANN401  # a Ray object reference
        """The result or error of a unit, None when it was lost and waits again."""
        errors = self._ray.exceptions
        lost = (
            errors.RayActorError,
            errors.ObjectLostError,
            errors.WorkerCrashedError,
            errors.NodeDiedError,
            errors.OutOfMemoryError,
        )
        try:
            outcome: Arrays | DistqError = self._ray.get(reference)
        except lost as error:
            if "owner has died" in str(error):  # that is this process, and no actor will start any more
                raise ExecutionError(GONE) from error
            self._requeue(seat, error)
            return None
        except errors.RayTaskError as error:  # the unit or its result could not travel
            outcome = unexpected(self._units[position].label, error.cause or error)
        except errors.RayError as error:
            raise ExecutionError(
                f"the Ray cluster is lost: {first_line(error)}; start again with --resume"
            ) from error
        if isinstance(outcome, DecoderLost):
            self._requeue(seat, outcome)
            return None
        self._stalls.finished(seat.seconds_busy)
        seat.take()
        if isinstance(outcome, DistqError):
            return outcome
        return own(outcome)

    def _requeue(self, seat: Seat, error: Exception) -> None:
        others = [other for other in self._seats if other is not seat]
        where = f"{seat.where} ({reason_of(error, lambda: seat.killed_for_memory(others))})"
        unfinished = seat.leave()
        seat.open()
        alone = len(unfinished) == 1
        again = []
        for position in unfinished:
            lost = self._lost.setdefault(position, [])
            lost.append(where)
            label = self._units[position].label
            if alone and len(lost) > self._retries:
                self._on_event(f"lost a worker on {where}; given up: {label}")
                self._fail(position, poison(label, lost))
            else:
                insort(self._waiting, position)
                again.append(label)
        if again:
            self._on_event(f"lost a worker on {where}; again: {' and '.join(again)}")

    def _fail(self, position: int, error: DistqError) -> None:
        self._failures[position] = error
        self._finish(position)

    def _drop_after(self, position: int) -> None:
        # units before it may fail too, and the first failure is the one to tell; those behind it are in vain
        del self._waiting[bisect_left(self._waiting, position) :]

    def _finish(self, position: int) -> None:
        self._finished.add(position)
        while self._lowest_unfinished in self._finished:
            self._finished.remove(self._lowest_unfinished)
            self._lowest_unfinished += 1

    def _greet(self, seat: Seat) -> None:
        try:
            seat.greet()
        except self._ray.exceptions.RayError as error:
            seat.leave()
            seat.failed_starts += 1
            if seat.failed_starts <= self._retries:
                seat.open()
                return
            self._seats.remove(seat)
            for_memory = LOW in str(error)
            reason = RAY_ENDED_IT if for_memory else first_line(error)
            if not self._seats:
                remedy = "" if for_memory else "; distq must be installed alike on every node"
                raise ExecutionError(f"no worker starts: {reason}{remedy}") from error
            self._on_event(f"a worker does not start ({reason}); {len(self._seats)} remain")
            return
        if self._processors is not None:
            require_one_processor(self._processors, seat.processor, str(seat.where))

    def _check_busy(self) -> bool:
        """Say who does not come back, and take the unit from who has had it for longer than is allowed.

        Returns:
            Whether a unit was taken away.
        """
        if time.monotonic() < self._look_again:
            return False
        self._look_again = time.monotonic() + _WAIT_SECONDS
        busy = max(self._seats, key=lambda seat: seat.seconds_busy)
        seconds = busy.seconds_busy
        if seconds >= self._unit_timeout and not self._has_answered(busy):
            self._requeue(busy, TooSlow(f"no answer within --unit-timeout {self._unit_timeout:g} s"))
            return True
        if self._stalls.due(seconds):
            answers, at = busy.at()
            label = self._units[busy.in_flight[0][0]].label
            self._on_event(stalled(f"the worker on {busy.where}", label, seconds, at, answers=answers))
        return False

    def _has_answered(self, seat: Seat) -> bool:
        """Whether a result is there that only this process has not yet taken."""
        done, _ = self._ray.wait([seat.awaited], num_returns=1, timeout=0)
        return bool(done)

    def _check_started(self) -> None:
        """Never wait for ever for what a cluster does not give."""
        late = sum(seat.seconds_waiting > self._start_seconds for seat in self._seats)
        if not late:
            return
        ready = sum(seat.ready for seat in self._seats)
        text = (
            f"{ready} of {len(self._seats)} workers started within {self._start_seconds:g} s; "
            f"the Ray cluster has {described(self._cluster.nodes())}, free now are {self._cluster.free()}"
        )
        if ready == 0 and late == len(self._seats):
            raise ExecutionError(f"{text}: ask for fewer --workers, or wait until others are done")
        if not self._told_missing:
            self._told_missing = True
            self._on_event(text)


def require_one_processor(known: dict[str, str], kind: str, where: str) -> None:
    """Refuse a worker on another kind of processor: its integer kernels would give other bits.

    Args:
        known: kinds seen so far, each with who has it; this one is added.
        kind: as :func:`distq.instructions.integer_instructions` names it.
        where: host and process, for a person.

    Raises:
        ExecutionError: naming both.
    """
    known.setdefault(kind, where)
    if len(known) > 1:
        both = " and ".join(f"{one} ({who})" for one, who in known.items())
        raise ExecutionError(
            f"workers on different processors give different bits: {both}; use nodes of one kind"
        )
