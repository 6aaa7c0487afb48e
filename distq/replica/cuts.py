"""What crosses a cut of the INT8 network on one sample, reached from the nearest cut still in memory."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy.typing as npt

from distq.data.dataset import DatasetSpec
from distq.graph.subgraph import Network
from distq.replica.keys import arrays_key
from distq.replica.samples import kept_inputs
from distq.replica.session import Session
from distq.replica.worker import Arrays, Blob, Worker, array_bytes

Numbers = Mapping[str, npt.NDArray[Any]]


@dataclass(frozen=True)
class Advance:
    """Brings samples to a cut of a network with given numbers.

    Attributes:
        network: the fused INT8 network.
        data: the samples.
        numbers: constants of the network as they are now.
        cut: tensors that cross the cut.
        base: the cut the samples were brought to last, with the same numbers before it; None or forgotten:
            the inputs.
    """

    network: Blob
    data: DatasetSpec
    numbers: Numbers
    cut: tuple[str, ...]
    base: tuple[str, ...] | None

    def crossing(self, worker: Worker, indices: Sequence[int]) -> list[Arrays]:
        """Tensors that cross the cut, for each sample."""
        net = open_network(worker, self.network)
        here, there = self._name(net, self.cut), self._name(net, self.base or ())
        found = []
        for index in indices:
            env: Arrays | None = worker.get((*here, index))
            if env is None:
                start: Arrays | None = worker.get((*there, index)) if self.base else None
                env = self._run(worker, net, start, index)
                worker.keep((*here, index), env, array_bytes(env))
            found.append(env)
        return found

    def _name(self, net: Network, cut: Sequence[str]) -> tuple[object, ...]:
        """A key of what crosses: it depends on the constants before the cut alone."""
        before = net.constants_of(net.before(cut))
        return (
            "cut",
            net.sha256,
            tuple(cut),
            arrays_key({n: self.numbers[n] for n in before if n in self.numbers}),
            self.data,
        )

    def _run(self, worker: Worker, net: Network, start: Arrays | None, index: int) -> Arrays:
        available: Collection[str] = {*net.inputs, *(start or {})}
        wanted = [name for name in self.cut if name not in available]
        session = part(worker, net, available, wanted, self.numbers) if wanted else None
        needs_inputs = start is None or any(
            n in net.inputs for n in (*self.cut, *(session.inputs if session else ()))
        )
        inputs = next(kept_inputs(worker, self.data, [index]))[1] if needs_inputs else {}
        env = {**inputs, **(start or {})}
        values = dict(zip(wanted, session.run(env), strict=True)) if session else {}
        return {name: values[name] if name in values else env[name] for name in self.cut}


def open_network(worker: Worker, blob: Blob) -> Network:
    """A network ready to be cut, parsed once on this worker."""
    found: Network = worker.cached(
        ("network", blob.sha256), lambda: Network(worker.fetch(blob)), lambda _: 1 << 20
    )
    return found


def part(
    worker: Worker,
    net: Network,
    available: Collection[str],
    outputs: Sequence[str],
    numbers: Numbers,
    *,
    promote: Collection[str] = (),
) -> Session:
    """A session of the part that computes ``outputs`` from ``available``, kept for the next unit."""
    used = net.constants_of(net.before(outputs, available))
    current = arrays_key({n: numbers[n] for n in used if n in numbers and n not in promote})
    key = ("part", net.sha256, tuple(sorted(available)), tuple(outputs), tuple(sorted(promote)), current)

    def build() -> Session:
        return Session(net.extract(available, outputs, numbers, promote), worker.settings)

    found: Session = worker.cached(key, build, lambda _: 4 << 20)
    return found
