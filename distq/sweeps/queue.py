"""The runs of a sweep that wait, handed out to threads."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from distq.sweeps.matrix import SweepRun


@dataclass(frozen=True)
class Turn:
    """A run, its place in the order, and the number of its network."""

    position: int
    network: int
    run: SweepRun

    @property
    def observed(self) -> tuple[int, str]:
        """Runs that agree in this observe the same tensors."""
        return self.network, self.run.options.target


class Queue:
    """Hands out runs in order.

    The first run of a network and target computes what the others take from it. Until it is over these are
    passed over, as is another such run of the network; so nothing is computed twice at the same time.
    """

    def __init__(self, networks: Sequence[Sequence[SweepRun]]) -> None:
        flat = [(number, run) for number, runs in enumerate(networks) for run in runs]
        self._waiting = [Turn(position, number, run) for position, (number, run) in enumerate(flat)]
        self._unfinished = Counter(number for number, _ in flat)
        self._first: dict[int, Turn] = {}  # that computes now what others will take, by network
        self._observed: set[tuple[int, str]] = set()
        self._changed = threading.Condition()

    def take(self) -> Turn | None:
        """The next run that can begin, as soon as there is one; None when none is left."""
        with self._changed:
            while self._waiting:
                for turn in self._waiting:
                    if turn.observed not in self._observed:
                        if turn.network in self._first:
                            continue
                        self._first[turn.network] = turn
                    self._waiting.remove(turn)
                    return turn
                self._changed.wait()
            return None

    def over(self, turn: Turn) -> bool:
        """A run is over, well or not; whether it was the last of its network."""
        with self._changed:
            if self._first.get(turn.network) is turn:
                del self._first[turn.network]
                self._observed.add(turn.observed)
            self._unfinished[turn.network] -= 1
            self._changed.notify_all()
            return not self._unfinished[turn.network]

    def stop(self) -> None:
        """Hand out no more."""
        with self._changed:
            self._waiting.clear()
            self._changed.notify_all()
