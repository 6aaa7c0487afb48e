"""Constants that take the place of a fused network's own: how they travel to a worker, and their identity."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property, lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx

from distq.graph.subgraph import Network
from distq.replica.keys import content_key
from distq.replica.worker import Blob, Worker


@dataclass(frozen=True)
class Numbers:
    """Constants that replace a network's own, shared once; only handles travel with a unit.

    Attributes:
        packed: scales, zero points and biases, the initializers of an ONNX graph.
        weights: bytes of integer weights, by name.
    """

    packed: Blob
    weights: Mapping[str, Blob] = field(default_factory=dict)

    @classmethod
    def of(
        cls,
        arrays: Mapping[str, npt.NDArray[Any]],
        share: Callable[[bytes], Blob],
        weights: Mapping[str, Blob] | None = None,
        packed: Mapping[str, bytes] | None = None,
    ) -> Numbers:
        """Share arrays; the order they are given in does not matter.

        Args:
            arrays: by name.
            share: gives bytes to whoever runs them.
            weights: bytes of integer weights, by name.
            packed: some of the arrays as :func:`pack` makes them.
        """
        known = packed or {}
        together = b"".join(known.get(name) or pack(name, arrays[name]) for name in sorted(arrays))
        return cls(share(together), weights or {})

    @cached_property
    def key(self) -> str:
        """SHA-256 of all of them."""
        weights = sorted((name, blob.sha256) for name, blob in self.weights.items())
        return content_key("numbers", self.packed.sha256, weights)


def pack(name: str, array: npt.NDArray[Any]) -> bytes:
    """A graph with one initializer; those of several graphs, one behind the other, are a graph with all."""
    graph = onnx.GraphProto(initializer=[onnx.numpy_helper.from_array(np.asarray(array), name)])
    return bytes(graph.SerializeToString())


class OpenNumbers:
    """The constants on a worker, as the tensors of an ONNX graph."""

    def __init__(self, worker: Worker, numbers: Numbers) -> None:
        packed = onnx.GraphProto.FromString(worker.fetch(numbers.packed))
        self._tensors = {tensor.name: tensor for tensor in packed.initializer}
        self._weights = numbers.weights
        self._digests = {
            **{n: hashlib.sha256(t.SerializeToString()).hexdigest() for n, t in self._tensors.items()},
            **{name: blob.sha256 for name, blob in self._weights.items()},
        }
        self.key = lru_cache(maxsize=None)(self._key)
        """SHA-256 of those replaced among some names, a tuple."""

    def _key(self, names: tuple[str, ...]) -> str:
        return content_key("constants", [(n, self._digests[n]) for n in names if n in self._digests])

    def tensors(self, worker: Worker, net: Network, names: Iterable[str]) -> dict[str, onnx.TensorProto]:
        """Those of the names that are replaced; a weight takes type and shape from the network's own."""
        found = {}
        for name in names:
            if name in self._tensors:
                found[name] = self._tensors[name]
            elif name in self._weights:
                own = net.initializers[name]
                found[name] = onnx.TensorProto(
                    name=name,
                    data_type=own.data_type,
                    dims=own.dims,
                    raw_data=worker.fetch(self._weights[name]),
                )
        return found


def open_numbers(worker: Worker, numbers: Numbers) -> OpenNumbers:
    """Numbers unpacked once on this worker."""
    found: OpenNumbers = worker.cached(
        ("numbers", numbers.key), lambda: OpenNumbers(worker, numbers), lambda _: 1 << 20
    )
    return found
