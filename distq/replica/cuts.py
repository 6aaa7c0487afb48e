"""What crosses a cut of the INT8 network on one sample, reached from the nearest cut still in memory."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx

from distq.data.dataset import DatasetSpec
from distq.graph.subgraph import Network
from distq.replica.keys import arrays_key, content_key
from distq.replica.samples import kept_inputs
from distq.replica.session import SESSION_BYTES, Session
from distq.replica.worker import Arrays, Blob, Worker, array_bytes


@dataclass(frozen=True)
class Numbers:
    """Constants that take the place of a network's own.

    Attributes:
        arrays: scales, zero points and biases: small, they travel with every unit.
        weights: integer weights, shared once.
    """

    arrays: Mapping[str, npt.NDArray[Any]]
    weights: Mapping[str, Blob] = field(default_factory=dict)

    def key(self, names: Iterable[str] | None = None) -> str:
        """SHA-256 of the constants, or of those named."""
        chosen = {*self.arrays, *self.weights} if names is None else set(names)
        arrays = {n: a for n, a in self.arrays.items() if n in chosen}
        weights = sorted((n, blob.sha256) for n, blob in self.weights.items() if n in chosen)
        return content_key("numbers", arrays_key(arrays), weights)

    def load(self, worker: Worker, net: Network, names: Iterable[str]) -> dict[str, npt.NDArray[Any]]:
        """The arrays of those named that are replaced."""
        found = {}
        for name in names:
            if name in self.arrays:
                found[name] = self.arrays[name]
            elif name in self.weights:
                own = net.initializers[name]
                dtype = onnx.helper.tensor_dtype_to_np_dtype(own.data_type)
                found[name] = np.frombuffer(worker.fetch(self.weights[name]), dtype).reshape(tuple(own.dims))
        return found


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
    """

    network: Blob
    data: DatasetSpec
    numbers: Numbers
    cut: tuple[str, ...]
    shares: Mapping[str, float] = field(default_factory=dict)

    @cached_property
    def key(self) -> str:
        """What the tensors that cross depend on."""
        return content_key("advance", self.network.sha256, self.numbers.key(), self.data.source, self.cut)

    def crossing(self, worker: Worker, indices: Sequence[int]) -> tuple[list[Arrays], float]:
        """Tensors that cross the cut, for each sample, and the forwards that took, in whole networks."""
        net = open_network(worker, self.network)
        valid = {self.cut: self._before(net, self.cut)}
        steps: dict[tuple[str, ...], _Step] = {}
        found: list[Arrays] = []
        forwards = 0.0
        for index in indices:
            place = ("cut", net.sha256, self.data, index)
            cut, before, crossing = worker.get(place) or ((), "", {})
            if cut not in valid:
                valid[cut] = self._before(net, cut)
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
        promote: Collection[str] = (),
    ) -> Session:
        """A session of the part that computes ``outputs`` from ``available``, kept for the next sample."""
        net = open_network(worker, self.network)
        recent = ("part", net.sha256, tuple(sorted(available)), tuple(outputs), tuple(sorted(promote)))

        def build() -> Session:
            numbers = self.numbers.load(worker, net, used)
            return Session(net.extract(available, outputs, numbers, promote), worker.settings)

        used = [n for n in net.constants_of(net.before(outputs, available)) if n not in promote]
        key = (*recent, self.numbers.key(used))
        found: Session = worker.cached(key, build, lambda _: SESSION_BYTES)
        return found

    def _before(self, net: Network, cut: Sequence[str]) -> str:
        """What crosses a cut depends on: the constants before it."""
        return self.numbers.key(net.constants_of(net.before(cut)))

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
