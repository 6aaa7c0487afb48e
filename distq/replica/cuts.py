"""What crosses a cut of the INT8 network on one sample, reached from what is in memory of earlier cuts."""

from __future__ import annotations

from collections.abc import Collection, Hashable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy.typing as npt

from distq.data.dataset import DatasetSpec
from distq.graph.subgraph import Network
from distq.replica.keys import content_key
from distq.replica.numbers import Numbers, OpenNumbers, open_numbers
from distq.replica.samples import kept_inputs
from distq.replica.session import Session, cached_bytes
from distq.replica.side_by_side import side_by_side
from distq.replica.worker import Arrays, Blob, Worker, array_bytes


@dataclass(frozen=True)
class Advance:
    """Brings samples to a cut of a network with given numbers.

    A worker keeps what crossed the last cut it brought a sample to, and what crosses later ones again. It
    goes on from there, as far as the numbers before these tensors are still the same. The result is the same.

    Attributes:
        network: the fused INT8 network.
        data: the samples.
        numbers: constants of the network as they are now.
        cut: tensors that cross the cut.
        shares: what part of the network's work each node does, by node name.
        float_network: most of it is in float; run that part as fast as can be, though a part then agrees with
            the whole to rounding only.
        again: tensors of earlier cuts that will cross later ones; not part of the identity.
    """

    network: Blob
    data: DatasetSpec
    numbers: Numbers
    cut: tuple[str, ...]
    shares: Mapping[str, float] = field(default_factory=dict)
    float_network: bool = False
    again: frozenset[str] = frozenset()

    @cached_property
    def key(self) -> str:
        """What the tensors that cross depend on."""
        return content_key(
            "advance",
            self.network.sha256,
            self.numbers.key,
            self.data.source,
            self.cut,
            self.float_network,
        )

    def open(self, worker: Worker) -> tuple[Network, OpenNumbers]:
        """The network and its numbers, opened once on this worker."""
        net = open_network(worker, self.network)
        return net, open_numbers(worker, self.numbers, self.network, net)

    def crossing(self, worker: Worker, indices: Sequence[int]) -> tuple[list[Arrays], float]:
        """Tensors that cross the cut, for each sample, and the forwards that took, in whole networks."""
        net, numbers = self.open(worker)
        before = numbers.before
        steps: dict[frozenset[str], _Step] = {}
        found: list[Arrays] = []
        forwards = 0.0

        def starts() -> Iterator[tuple[_Step | None, Arrays]]:
            for index in indices:
                kept: dict[str, tuple[str, npt.NDArray[Any]]] = worker.get(self._place(index)) or {}
                known = {name: array for name, (key, array) in kept.items() if key == before(name)}
                if known.keys() >= {*self.cut}:
                    yield None, known
                    continue
                start = frozenset(known)
                if start not in steps:
                    steps[start] = self._step(worker, net, start)
                needs = steps[start].needs_inputs
                inputs = next(kept_inputs(worker, self.data, [index]))[1] if needs else {}
                yield steps[start], {**inputs, **known}

        for index, (step, reached) in zip(indices, side_by_side(worker, _reach, starts()), strict=True):
            known = reached
            if step is not None:
                forwards += step.share
                known = {n: array for n, array in reached.items() if n in self.cut or n in self.again}
                kept = {name: (before(name), array) for name, array in known.items()}
                worker.keep(self._place(index), kept, array_bytes(known))
            found.append({name: known[name] for name in self.cut})
        return found, forwards

    def _place(self, index: int) -> Hashable:
        """Where a worker keeps what crossed the last cut of a sample."""
        return "cut", self.network.sha256, self.data, index

    def share(self, net: Network, nodes: Iterable[int]) -> float:
        """What part of the network's work these nodes do."""
        return sum(self.shares.get(net.nodes[i].name, 0.0) for i in nodes)

    def part(
        self,
        worker: Worker,
        available: Collection[str],
        outputs: Sequence[str],
        promote: tuple[str, ...] = (),
    ) -> Session:
        """A session of the part that computes ``outputs`` from ``available``, kept for the next sample."""
        net, numbers = self.open(worker)
        fed, wanted = frozenset(available), tuple(outputs)
        used = net.constants_of(net.before(wanted, fed))
        if promote:
            used = tuple(name for name in used if name not in promote)

        def build() -> Session:
            own = numbers.tensors(worker, used)
            part = net.extract(fed, wanted, own, promote)
            return Session(part, worker.settings, fused=True, float_network=self.float_network)

        key = ("part", self.network.sha256, fed, wanted, tuple(promote), numbers.key(used))
        found: Session = worker.cached(key, build, cached_bytes(worker), growing=True)
        return found

    def _step(self, worker: Worker, net: Network, known: frozenset[str]) -> _Step:
        """How to get from what is known of a sample, or from its inputs, to the cut."""
        available = known | net.inputs.keys()
        wanted = tuple(name for name in self.cut if name not in available)
        nodes = net.before(wanted, available)
        passed = (name for name in sorted(self.again - available) if net.reaches(nodes, name))
        wanted = (*wanted, *(name for name in passed if name not in wanted))
        session = self.part(worker, net.frontier(nodes), wanted) if wanted else None
        read = {*self.cut, *(session.inputs if session else ())}
        needs_inputs = any(name in net.inputs and name not in known for name in read)
        return _Step(session, wanted, needs_inputs, self.share(net, nodes))


@dataclass(frozen=True)
class _Step:
    """From what is known to a cut: the session between them, and what part of the network it runs."""

    session: Session | None
    outputs: tuple[str, ...]
    needs_inputs: bool
    share: float


def _reach(start: tuple[_Step | None, Arrays]) -> tuple[_Step | None, Arrays]:
    """What is known of a sample behind a step, and the step; of no step what was known before."""
    step, known = start
    if step is None or step.session is None:
        return start
    return step, {**known, **dict(zip(step.outputs, step.session.run(known), strict=True))}


def open_network(worker: Worker, blob: Blob) -> Network:
    """A network ready to be cut, parsed once on this worker."""
    found: Network = worker.cached(
        ("network", blob.sha256), lambda: Network(worker.fetch(blob)), lambda _: 1 << 20
    )
    return found
