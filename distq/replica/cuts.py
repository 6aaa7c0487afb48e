"""What crosses a cut of the INT8 network on one sample, reached from the nearest cut still in memory."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property

from distq.data.dataset import DatasetSpec
from distq.graph.subgraph import Network
from distq.replica.keys import content_key
from distq.replica.numbers import Numbers, OpenNumbers, open_numbers
from distq.replica.samples import kept_inputs
from distq.replica.session import SESSION_BYTES, Session
from distq.replica.worker import Arrays, Blob, Worker, array_bytes


@dataclass(frozen=True)
class Advance:
    """Brings samples to a cut of a network with given numbers.

    A worker keeps what crossed the last cut it brought a sample to, and goes on from there where the numbers
    before that cut are still the same; otherwise it starts from the inputs. The result is the same.

    Attributes:
        network: the fused INT8 network.
        data: the samples.
        numbers: constants of the network as they are now.
        cut: tensors that cross the cut.
        shares: what part of the network's work each node does, by node name.
        float_network: most of it is in float; run that part as fast as can be, though a part then agrees with
            the whole to rounding only.
    """

    network: Blob
    data: DatasetSpec
    numbers: Numbers
    cut: tuple[str, ...]
    shares: Mapping[str, float] = field(default_factory=dict)
    float_network: bool = False

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

    def crossing(self, worker: Worker, indices: Sequence[int]) -> tuple[list[Arrays], float]:
        """Tensors that cross the cut, for each sample, and the forwards that took, in whole networks."""
        net, numbers = open_network(worker, self.network), open_numbers(worker, self.numbers)
        valid = {self.cut: _before(net, numbers, self.cut)}
        steps: dict[tuple[str, ...], _Step] = {}
        found: list[Arrays] = []
        forwards = 0.0
        for index in indices:
            place = ("cut", self.network.sha256, self.data, index)
            cut, before, crossing = worker.get(place) or ((), "", {})
            if cut not in valid:
                valid[cut] = _before(net, numbers, cut)
            if before != valid[cut]:
                cut, crossing = (), {}
            if cut != self.cut:
                if cut not in steps:
                    steps[cut] = self._step(worker, net, cut)
                crossing = self._run(worker, steps[cut], crossing, index)
                forwards += steps[cut].share
                worker.keep(place, (self.cut, valid[self.cut], crossing), array_bytes(crossing))
            found.append(crossing)
        return found, forwards

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
        net, numbers = open_network(worker, self.network), open_numbers(worker, self.numbers)
        fed, wanted = frozenset(available), tuple(outputs)
        used = net.constants_of(net.before(wanted, fed))
        if promote:
            used = tuple(name for name in used if name not in promote)

        def build() -> Session:
            own = numbers.tensors(worker, net, used)
            part = net.extract(fed, wanted, own, promote)
            return Session(part, worker.settings, fused=True, float_network=self.float_network)

        key = ("part", self.network.sha256, fed, wanted, tuple(promote), numbers.key(used))
        found: Session = worker.cached(key, build, lambda _: SESSION_BYTES)
        return found

    def _step(self, worker: Worker, net: Network, start: Sequence[str]) -> _Step:
        """How to get from one cut, or from the inputs, to this one."""
        available = frozenset({*net.inputs, *start})
        wanted = tuple(name for name in self.cut if name not in available)
        session = self.part(worker, available, wanted) if wanted else None
        read = {*self.cut, *(session.inputs if session else ())}
        needs_inputs = any(name in net.inputs and name not in start for name in read)
        return _Step(session, wanted, needs_inputs, self.share(net, net.before(wanted, available)))

    def _run(self, worker: Worker, step: _Step, start: Arrays, index: int) -> Arrays:
        inputs = next(kept_inputs(worker, self.data, [index]))[1] if step.needs_inputs else {}
        known = {**inputs, **start}
        if step.session is not None:
            known.update(zip(step.outputs, step.session.run(known), strict=True))
        return {name: known[name] for name in self.cut}


def _before(net: Network, numbers: OpenNumbers, cut: Sequence[str]) -> str:
    """What crosses a cut depends on: the constants before it."""
    return numbers.key(net.constants_of(net.before(cut)))


@dataclass(frozen=True)
class _Step:
    """From one cut to the next: the session between them, and what part of the network it runs."""

    session: Session | None
    outputs: tuple[str, ...]
    needs_inputs: bool
    share: float


def open_network(worker: Worker, blob: Blob) -> Network:
    """A network ready to be cut, parsed once on this worker."""
    found: Network = worker.cached(
        ("network", blob.sha256), lambda: Network(worker.fetch(blob)), lambda _: 1 << 20
    )
    return found
