"""What a worker keeps between units: the bytes and sessions it has, opened data, and cached arrays."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import islice
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from distq.data.dataset import DatasetSpec, Sample, UnreadableSample
from distq.memory import memory_limit
from distq.replica.outputs import kept_bytes

Arrays = dict[str, npt.NDArray[Any]]
"""What a unit returns: named numpy arrays, nothing else, so that a result can be stored without pickle."""


_ENTRY_BYTES = 1024  # of key and objects around a small array: a hundred thousand of them count


LEAST_CACHE, LARGEST_CACHE = 64 << 20, 1 << 30
"""Between these a worker's cache lies by itself."""

_CACHED_PART = 4

_WEIGHED_AGAIN = 16
"""Values that a unit uses in turns, at most: a network of a thousand layers has as many sessions."""


def default_cache(workers: int) -> int:
    """Bytes that a worker keeps between units unless told: together a quarter of what there is to have here.

    Args:
        workers: on this machine.
    """
    return min(LARGEST_CACHE, max(LEAST_CACHE, memory_limit() // (_CACHED_PART * workers)))


@dataclass(frozen=True)
class Blob:
    """Bytes all workers can get, known by their SHA-256.

    ``weights`` are files that a large model refers to, by location, for workers on machines without them.
    """

    sha256: str
    handle: Any  # the bytes themselves, or a Ray object reference
    weights: Mapping[str, Any] = field(default_factory=dict)

    def __repr__(self) -> str:
        return f"Blob({self.sha256[:12]})"


@dataclass(frozen=True)
class WorkerSettings:
    """How a worker computes.

    Attributes:
        device: as in ``--device``.
        threads: of a session; jobs take one: with more, float kernels cut their sums elsewhere.
        cache_bytes: what it may keep between units, beside what the unit at hand works with; None: its part
            of a quarter of the memory there is.
        decode_threads: that decode ahead of the session.
        decode_actors: that decode in place of threads, each in a process and on a CPU of its own.
        gpu_part: of a GPU's memory that a session may take; 1 is no limit.
        sharing: workers on its machine, itself included.
        together: samples that are worked on at the same time, each on a thread and a CPU of its own.
    """

    device: str = "cpu"
    threads: int = 1
    cache_bytes: int | None = None
    decode_threads: int = 1
    decode_actors: int = 0
    gpu_part: float = 1.0
    sharing: int = 1
    together: int = 1

    @property
    def cpus(self) -> int:
        """CPUs a worker keeps busy; a single decoding thread shares the session's."""
        return self.threads + self.decode_threads - 1

    def on(self, device: str) -> WorkerSettings:
        """The same once the device is known: actors decode beside a GPU, threads on a processor."""
        if device == "cpu":
            return replace(self, device=device, decode_actors=0)
        return replace(self, device=device, decode_threads=1 if self.decode_actors else self.decode_threads)


class Decoders(Protocol):
    """Processes beside a worker that decode for it."""

    def load_ahead(
        self, spec: DatasetSpec, indices: Sequence[int], depth: int
    ) -> Iterator[Sample | UnreadableSample]:
        """As :func:`distq.data.ahead.load_ahead`, and what it gives belongs to the caller."""


@dataclass
class Worker:
    """State of one worker; everything in it can be rebuilt from a unit."""

    settings: WorkerSettings
    fetch: Callable[[Blob], bytes]
    decoders: Decoders | None = None  # None: threads of this process decode
    datasets: dict[Hashable, Any] = field(default_factory=dict)  # small, and slow to open again
    _kept: OrderedDict[Hashable, tuple[int, Any]] = field(default_factory=OrderedDict)
    _growing: OrderedDict[Hashable, Callable[[Any], int]] = field(
        default_factory=OrderedDict
    )  # of these ``_kept`` is the last look; those that were used last stand at the end
    _bytes: int = 0
    _running: list[Callable[[], object]] = field(default_factory=list)
    most: int = field(init=False)  # bytes that it keeps

    def __post_init__(self) -> None:
        """Look how much there is to keep things in, on the machine that it is on."""
        given = self.settings.cache_bytes
        self.most = default_cache(self.settings.sharing) if given is None else given

    def at_end(self, end: Callable[[], object]) -> None:
        """Have something ended with the unit that began it, such as threads that decode ahead.

        An error holds whatever its frames have begun, as long as anyone has the error.
        """
        self._running.append(end)

    def end_what_runs(self) -> None:
        """End what the last unit began."""
        while self._running:
            self._running.pop()()

    def cached(
        self,
        key: Hashable,
        build: Callable[[], Any],
        size: Callable[[Any], int],
        *,
        growing: bool = False,
    ) -> Any:  # noqa: ANN401  # a cache of anything
        """The value of ``key``, built when absent; the least recently used go first when memory is full.

        Args:
            key: of the value.
            build: makes it.
            size: its bytes.
            growing: as it is used its size changes, and is asked for again whenever something is kept.
        """
        if key in self._kept:
            self._kept.move_to_end(key)
            if key in self._growing:
                self._growing.move_to_end(key)
            return self._kept[key][1]
        value = build()
        self.keep(key, value, size(value))
        if growing:
            self._growing[key] = size
        return value

    def keep(self, key: Hashable, value: Any, size: int) -> None:  # noqa: ANN401  # a cache of anything
        """Put a value in the cache, replacing what had this key."""
        self.drop(key)
        self._weigh_again()
        size += _ENTRY_BYTES
        self._kept[key] = (size, value)
        self._bytes += size
        while self._bytes > self.most and len(self._kept) > 1:
            self.drop(next(iter(self._kept)))

    def _weigh_again(self) -> None:
        """Look again at what was used last: nothing else can have grown."""
        for key, size_of in islice(reversed(self._growing.items()), _WEIGHED_AGAIN):
            before, value = self._kept[key]
            size = size_of(value) + _ENTRY_BYTES
            if size != before:
                self._kept[key] = (size, value)
                self._bytes += size - before

    def get(self, key: Hashable) -> Any | None:  # noqa: ANN401  # a cache of anything
        """The value of ``key``, or None."""
        if key not in self._kept:
            return None
        self._kept.move_to_end(key)
        return self._kept[key][1]

    def drop(self, key: Hashable) -> None:
        """Forget ``key``."""
        self._growing.pop(key, None)
        if key in self._kept:
            size, _ = self._kept.pop(key)
            self._bytes -= size


def array_bytes(arrays: Arrays) -> int:
    """Memory of named arrays."""
    return sum(map(kept_bytes, arrays.values()))


def own(arrays: Arrays) -> Arrays:
    """Arrays that can be written and kept: large ones from Ray are views, and hold its object store."""
    return {name: array if array.flags.writeable else array.copy() for name, array in arrays.items()}


def stable_sum(values: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Sum over the first axis in index order, so that the result does not depend on how work was cut."""
    total = np.zeros(values.shape[1:], np.float64)
    for row in values:
        total += row
    return total
