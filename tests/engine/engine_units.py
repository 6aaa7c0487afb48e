"""Units for the tests of the engine; in a module of their own, so that a Ray actor can import them."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from distq.data.dataset import DatasetSpec, UnreadableSample
from distq.engine.blas import blas_threads
from distq.errors import DataError
from distq.replica.samples import read_samples
from distq.replica.worker import Arrays, Blob, Worker


@dataclass(frozen=True)
class Square:
    """The square of a number; every run leaves a line in ``seen``."""

    number: int
    seen: Path | None = None

    @property
    def key(self) -> str:
        return f"square-{self.number}"

    @property
    def label(self) -> str:
        return f"square of {self.number}"

    def run(self, worker: Worker) -> Arrays:
        del worker
        if self.seen is not None:
            with self.seen.open("a") as stream:
                stream.write(f"{self.number}\n")
        return {"square": np.array([self.number**2], np.int64)}


@dataclass(frozen=True)
class Slow(Square):
    """The square, late."""

    seconds: float = 0.0

    def run(self, worker: Worker) -> Arrays:
        time.sleep(self.seconds)
        return super().run(worker)


@dataclass(frozen=True)
class Held(Square):
    """The square, once a file is there."""

    gate: Path = Path()

    def run(self, worker: Worker) -> Arrays:
        while not self.gate.exists():
            time.sleep(0.01)
        return super().run(worker)


@dataclass(frozen=True)
class Big(Square):
    """More than Ray sends by value."""

    def run(self, worker: Worker) -> Arrays:
        del worker
        return {"x": np.full((1000, 100), self.number, np.float64)}


@dataclass(frozen=True)
class Refuse(Square):
    """A unit whose input is bad."""

    def run(self, worker: Worker) -> Arrays:
        del worker
        raise DataError(f"photo{self.number}.jpg: truncated; remove it or use --skip-bad 1")


@dataclass(frozen=True)
class Fault(Square):
    """A unit with a bug."""

    error: type[BaseException] = ZeroDivisionError

    def run(self, worker: Worker) -> Arrays:
        del worker
        raise self.error("at line\n7")


@dataclass(frozen=True)
class Unsendable(Square):
    """A unit whose exception cannot be pickled."""

    def run(self, worker: Worker) -> Arrays:
        del worker

        class LocalError(Exception):
            lock = time.sleep

            def __reduce__(self) -> str:
                raise TypeError("no pickle of this")

        raise LocalError("strange")


@dataclass(frozen=True)
class Kill(Square):
    """A unit whose process is killed the first ``times``, counted in a file."""

    times: int = 1

    def run(self, worker: Worker) -> Arrays:
        result = super().run(worker)
        assert self.seen is not None
        if self.seen.read_text().split().count(str(self.number)) <= self.times:
            os.kill(os.getpid(), signal.SIGKILL)
        return result


@dataclass(frozen=True)
class Fetch(Square):
    """The bytes of a shared blob."""

    blob: Blob = field(default=Blob("", b""))

    def run(self, worker: Worker) -> Arrays:
        return {"bytes": np.frombuffer(worker.fetch(self.blob), np.uint8)}


@dataclass(frozen=True)
class Product(Square):
    """Linear algebra whose bits depend on the number of BLAS threads."""

    def run(self, worker: Worker) -> Arrays:
        del worker
        matrix = np.random.default_rng(self.number).standard_normal((500, 600), np.float32)
        solution = np.linalg.lstsq(matrix[:, :100].astype(np.float64), np.ones(500), rcond=None)[0]
        return {"product": matrix @ matrix.T, "solution": solution, "threads": np.array(blas_threads() or 1)}


@dataclass(frozen=True)
class Kept(Square):
    """How many units the worker has seen, by its cache."""

    def run(self, worker: Worker) -> Arrays:
        count = worker.cached("count", list, len)
        count.append(self.number)
        return {"count": np.array(len(count)), "process": np.array(os.getpid())}


@dataclass(frozen=True)
class DecodeThreads(Square):
    """What the worker was told."""

    def run(self, worker: Worker) -> Arrays:
        return {"decode_threads": np.array(worker.settings.decode_threads)}


@dataclass(frozen=True)
class Decoded(Square):
    """Samples of a data set with one input, as the worker gets them, and which process that is."""

    data: DatasetSpec = field(default=DatasetSpec("", ()))
    indices: Sequence[int] = ()

    def run(self, worker: Worker) -> Arrays:
        found = []
        for sample in read_samples(worker, self.data, self.indices):
            if isinstance(sample, UnreadableSample):
                raise sample
            found.append(sample.inputs["x"])
        return {
            "x": np.concatenate(found),
            "process": np.array(os.getpid()),
            "writable": np.array(all(array.flags.writeable for array in found)),
        }


@dataclass(frozen=True)
class Where(Slow):
    """The node that the unit ran on."""

    def run(self, worker: Worker) -> Arrays:
        import ray  # noqa: PLC0415  # units of other tests run without

        super().run(worker)
        return {"node": np.array(ray.get_runtime_context().get_node_id())}


@dataclass(frozen=True)
class DecoderNodes(Where):
    """The node of the unit, its GPUs, and the nodes of the actors that decode for it."""

    def run(self, worker: Worker) -> Arrays:
        import ray  # noqa: PLC0415  # units of other tests run without

        nodes = [
            actor.__ray_call__.remote(lambda _: ray.get_runtime_context().get_node_id())
            for actor in worker.decoders._actors
        ]
        gpus = len(ray.get_gpu_ids())
        return super().run(worker) | {"gpus": np.array(gpus), "decoders": np.array(ray.get(nodes))}
