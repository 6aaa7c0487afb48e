"""How many workers a cluster is asked for, and what each of them books: arithmetic on what its nodes have."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from distq.errors import UsageError, plural

_PARTS = 10_000  # of a GPU: Ray counts no finer


@dataclass(frozen=True)
class Resources:
    """What a node or a cluster has, busy or not."""

    cpus: float
    gpus: float

    def __str__(self) -> str:
        return f"{self.cpus:g} CPUs and {self.gpus:g} GPUs"


@dataclass(frozen=True)
class Booking:
    """What one worker books on a node.

    Attributes:
        cpus: for itself.
        gpus: 0, 1, or a part of one GPU.
        decoders: actors that decode beside it on the same node, a CPU each.
    """

    cpus: int
    gpus: float
    decoders: int = 0

    def __str__(self) -> str:
        booked = plural(self.cpus, "CPU")
        if self.decoders:
            booked += f", {plural(self.decoders, 'CPU')} to decode"
        return f"{booked} and {self.gpus:g} GPU" if self.gpus else booked

    @property
    def bundle(self) -> dict[str, float]:
        """All of it, as Ray names it."""
        bundle = {"CPU": float(self.cpus + self.decoders), "GPU": self.gpus}
        return {name: amount for name, amount in bundle.items() if amount}

    def fit_on(self, node: Resources) -> int:
        """How many such workers a node has room for; none is spread over two GPUs."""
        by_cpus = int(node.cpus // (self.cpus + self.decoders))
        return min(by_cpus, int(node.gpus) * int(1 / self.gpus)) if self.gpus else by_cpus

    def room(self, nodes: Sequence[Resources]) -> int:
        """How many a cluster has room for."""
        return sum(map(self.fit_on, nodes))


@dataclass(frozen=True)
class Placement:
    """So many workers, each with its booking."""

    workers: int
    booking: Booking


def plan(
    workers: int | None,
    device: str,
    cpus: int,
    gpus: float | None,
    nodes: Sequence[Resources],
    *,
    decoders: int = 0,
    may_grow: bool = False,
) -> Placement:
    """Plan the workers of a job.

    Ray shows a worker only the GPUs it booked. ``cuda:n`` counts the machine's GPUs itself, so it books none.

    Args:
        workers: how many; None: as many as there is room for, on ``cuda`` one per GPU unless ``gpus`` says
            how many share one.
        device: ``cpu``, ``cuda`` or ``cuda:n``.
        cpus: of a worker.
        gpus: of a worker, at most 1; None: a whole one, or the largest equal part with which all fit.
        nodes: what each node has.
        decoders: actors beside each worker that decode.
        may_grow: more workers than there is room for now are fine: nodes are expected.

    Raises:
        UsageError: the cluster does not have what they need; the message says what was asked and what is
            there.
    """
    if device != "cuda":
        return _checked(workers, Booking(cpus, 0.0, decoders), nodes, may_grow=may_grow)
    if sum(node.gpus for node in nodes) < 1 and not may_grow:
        raise UsageError(f"--device cuda: the Ray cluster has {described(nodes)}; use --device cpu")
    if gpus is None and workers is not None and not may_grow:
        for sharing in range(1, workers + 1):
            booking = Booking(cpus, part(1 / sharing), decoders)
            if booking.room(nodes) >= workers:
                return Placement(workers, booking)
    return _checked(workers, Booking(cpus, part(gpus or 1.0), decoders), nodes, may_grow=may_grow)


def part(gpus: float) -> float:
    """A part of a GPU as Ray can count it, rounded down so that all that share the GPU fit on it."""
    return max(1, math.floor(gpus * _PARTS + 1e-6)) / _PARTS


def described(nodes: Sequence[Resources]) -> str:
    """What a cluster has, for a person; of several nodes also what one has at most."""
    total = str(Resources(sum(node.cpus for node in nodes), sum(node.gpus for node in nodes)))
    if len(nodes) < 2:
        return total
    largest = Resources(max(node.cpus for node in nodes), max(node.gpus for node in nodes))
    return f"{total} on {len(nodes)} nodes, at most {largest} on one"


def _checked(
    workers: int | None, booking: Booking, nodes: Sequence[Resources], *, may_grow: bool
) -> Placement:
    room = booking.room(nodes)
    if workers is not None and (may_grow or workers <= room):
        return Placement(workers, booking)
    if workers is None and room:
        return Placement(room, booking)
    asked = f"--workers {workers} of {booking} each" if workers else f"a worker of {booking}"
    remedy = f"ask for at most {room} workers" if room else "no node has room for one"
    raise UsageError(f"{asked}: the Ray cluster has {described(nodes)}; {remedy}")
