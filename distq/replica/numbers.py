"""Constants that take the place of a fused network's own: how they travel to a worker, and their identity."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx

from distq.graph.subgraph import Network
from distq.replica.keys import content_key
from distq.replica.worker import Blob, Worker

Share = Callable[[bytes], Blob]


@dataclass(frozen=True)
class Numbers:
    """Constants that replace a network's own, shared once; only handles travel with a unit.

    A thousand layers are corrected one behind the other. So what a layer adds is a part of its own, and a
    worker that has opened what was before opens no more than that.

    Attributes:
        key: SHA-256 of all of them, and of the parts they came in.
        packed: scales, zero points and biases, each part the initializers of an ONNX graph; later ones count.
        weights: bytes of integer weights, by name.
        earlier: key without the last part and its weights; empty where there is one part.
        added: names of the weights that came with the last part.
    """

    key: str
    packed: tuple[Blob, ...]
    weights: Mapping[str, Blob] = field(default_factory=dict)
    earlier: str = ""
    added: tuple[str, ...] = ()

    @classmethod
    def of(
        cls,
        arrays: Mapping[str, npt.NDArray[Any]],
        share: Share,
        weights: Mapping[str, Blob] | None = None,
    ) -> Numbers:
        """Share arrays; the order they are given in does not matter.

        Args:
            arrays: by name.
            share: gives bytes to whoever runs them.
            weights: bytes of integer weights, by name.
        """
        return cls("", ()).with_more(arrays, share, weights or {})

    def with_more(
        self, arrays: Mapping[str, npt.NDArray[Any]], share: Share, weights: Mapping[str, Blob]
    ) -> Numbers:
        """These and others, which take the place of those of the same name."""
        part = share(b"".join(_pack(name, arrays[name]) for name in sorted(arrays)))
        added = sorted((name, blob.sha256) for name, blob in weights.items())
        return Numbers(
            content_key("numbers", self.key, part.sha256, added),
            (*self.packed, part),
            {**self.weights, **weights},
            self.key,
            tuple(weights),
        )


def _pack(name: str, array: npt.NDArray[Any]) -> bytes:
    """A graph with one initializer; those of several graphs, one behind the other, are a graph with all."""
    graph = onnx.GraphProto(initializer=[onnx.numpy_helper.from_array(np.asarray(array), name)])
    return bytes(graph.SerializeToString())


class OpenNumbers:
    """The constants on a worker, as the tensors of an ONNX graph, and what depends on them in a network.

    Args:
        worker: fetches what is packed.
        numbers: the constants.
        net: the network in which they are replaced.
        earlier: the same without the last part, where that is open already.
    """

    def __init__(
        self, worker: Worker, numbers: Numbers, net: Network, earlier: OpenNumbers | None = None
    ) -> None:
        self._net = net
        self._weights = numbers.weights
        self._tensors: dict[str, onnx.TensorProto] = {} if earlier is None else dict(earlier._tensors)
        self._digests: dict[str, str] = {} if earlier is None else dict(earlier._digests)
        self._node_keys: dict[int, str] = {} if earlier is None else dict(earlier._node_keys)
        weights = numbers.weights if earlier is None else numbers.added
        changed = [*weights]
        for blob in numbers.packed if earlier is None else numbers.packed[-1:]:
            for tensor in onnx.GraphProto.FromString(worker.fetch(blob)).initializer:
                self._tensors[tensor.name] = tensor
                self._digests[tensor.name] = hashlib.sha256(tensor.SerializeToString()).hexdigest()
                changed.append(tensor.name)
        self._digests.update((name, numbers.weights[name].sha256) for name in weights)
        self._forget_behind(changed)
        self.key = lru_cache(maxsize=None)(self._key)
        """SHA-256 of those replaced among some names, a tuple."""

    def _key(self, names: tuple[str, ...]) -> str:
        return content_key("constants", [(n, self._digests[n]) for n in names if n in self._digests])

    def _forget_behind(self, names: Iterable[str]) -> None:
        """Drop keys of nodes that depend on constants; where a node has none, none behind it has one."""
        todo = [reader for name in names for reader in self._net.readers(name)] if self._node_keys else []
        while todo:
            node = todo.pop()
            if self._node_keys.pop(node, None) is not None:
                todo += [r for name in self._net.nodes[node].output for r in self._net.readers(name)]

    def before(self, tensor: str) -> str:
        """Identity of the replaced constants that a tensor depends on, among all states of the network."""
        last = self._net.producer.get(tensor)
        if last is None:
            return ""
        keys, sources = self._node_keys, self._net.sources
        unknown: set[int] = set()
        todo = [last]
        while todo:
            node = todo.pop()
            if node not in keys and node not in unknown:
                unknown.add(node)
                todo += sources[node]
        for node in sorted(unknown):  # the order of the file, which is one in which they can run
            keys[node] = self._node_key(node)
        return keys[last]

    def _node_key(self, node: int) -> str:
        """Of its own constants and of what the nodes in front of it depend on."""
        own = [f"{name} {self._digests[name]}" for name in self._net.reads[node] if name in self._digests]
        before = [self._node_keys[source] for source in self._net.sources[node]]
        if not own and len(set(before)) <= 1:
            return before[0] if before else ""
        return hashlib.sha256(" ".join((str(node), *own, *before)).encode()).hexdigest()

    def tensors(self, worker: Worker, names: Iterable[str]) -> dict[str, onnx.TensorProto]:
        """Those of the names that are replaced; a weight takes type and shape from the network's own."""
        found = {}
        for name in names:
            if name in self._tensors:
                found[name] = self._tensors[name]
            elif name in self._weights:
                own = self._net.initializers[name]
                found[name] = onnx.TensorProto(
                    name=name,
                    data_type=own.data_type,
                    dims=own.dims,
                    raw_data=worker.fetch(self._weights[name]),
                )
        return found


def open_numbers(worker: Worker, numbers: Numbers, network: Blob, net: Network) -> OpenNumbers:
    """Numbers unpacked once on this worker.

    Args:
        worker: keeps them.
        numbers: which.
        network: in which they are replaced.
        net: the same, opened.
    """

    def build() -> OpenNumbers:
        earlier = worker.get(("numbers", network.sha256, numbers.earlier)) if numbers.earlier else None
        return OpenNumbers(worker, numbers, net, earlier)

    found: OpenNumbers = worker.cached(("numbers", network.sha256, numbers.key), build, lambda _: 1 << 20)
    return found
