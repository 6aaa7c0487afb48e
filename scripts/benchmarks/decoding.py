"""How busy decoding keeps a worker's session: JPEG photos through a network that takes longer than decoding.

    .venv/bin/python scripts/benchmarks/decoding.py --images 256 --threads 1 2 4 --actors 1 2 4

A worker reads units of 32 photos as it does in a job. Printed are, per number of decoding threads and of
decode actors (which a worker on a GPU has in their place), images a second and the part of the time that the
session computed; what one decode and one forward take alone, and what it takes to get a decoded photo, stands
above. It needs as many idle cores as decoding threads or actors, and one.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from distq.data.dataset import DatasetSpec, UnreadableSample
from distq.data.samples import InputSpec
from distq.data.shards import shard
from distq.engine.ray_cluster import RayCluster
from distq.engine.ray_decoders import RayDecoders
from distq.files import sha256_bytes
from distq.replica.float32 import open_session
from distq.replica.samples import open_dataset, read_samples
from distq.replica.worker import Blob, Worker, WorkerSettings

HEIGHT, WIDTH = 480, 640
_UNIT = 32


@dataclass(frozen=True)
class Busy:
    """What so many decoding threads or actors gave."""

    decoders: str
    images_per_second: float
    busy: float


def write_photos(folder: Path, count: int, seed: int) -> DatasetSpec:
    """Blurred noise, which compresses like a photo, as JPEG files."""
    random = np.random.default_rng(seed)
    for number in range(count):
        noise = random.integers(0, 256, (HEIGHT, WIDTH, 3), np.uint8)
        cv2.imwrite(str(folder / f"{number:05d}.jpg"), cv2.GaussianBlur(noise, (5, 5), 0))
    return DatasetSpec.create(folder, [InputSpec("x", (1, 3, HEIGHT, WIDTH), "float32")])


def network(seed: int, repeats: int = 3) -> bytes:
    """Convolutions that take several times as long as decoding a photo."""
    random = np.random.default_rng(seed)
    weights, nodes = [], []
    source, channels = "x", 3
    for number in range(repeats):
        weight = random.standard_normal((32, channels, 3, 3)).astype(np.float32) * 0.1
        weights.append(numpy_helper.from_array(weight, f"w{number}"))
        target = "y" if number == repeats - 1 else f"t{number}"
        stride = [2, 2] if number == 0 else [1, 1]
        nodes.append(helper.make_node("Conv", [source, f"w{number}"], [target], pads=[1] * 4, strides=stride))
        source, channels = target, 32
    info = helper.make_tensor_value_info
    graph = helper.make_graph(
        nodes,
        "convolutions",
        [info("x", TensorProto.FLOAT, (1, 3, HEIGHT, WIDTH))],
        [info("y", TensorProto.FLOAT, (1, 32, HEIGHT // 2, WIDTH // 2))],
        weights,
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    data: bytes = model.SerializeToString()
    onnx.checker.check_model(data)
    return data


def with_decoders(threads: int, actors: int) -> Worker:
    """A worker with one or the other."""
    decoders = RayDecoders(actors) if actors else None
    if decoders is not None:
        decoders.require()
    settings = WorkerSettings(decode_threads=max(1, threads), decode_actors=actors)
    return Worker(settings, fetch=lambda blob: blob.handle, decoders=decoders)


def measure(spec: DatasetSpec, model: bytes, threads: int, actors: int) -> Busy:
    """Read and compute everything once; the first unit warms up and does not count."""
    worker = with_decoders(threads, actors)
    session = open_session(worker, Blob(sha256_bytes(model), model))
    units = shard(range(len(spec.open())), _UNIT)
    computing, images, began = 0.0, 0, time.perf_counter()
    for number, unit in enumerate(units):
        if number == 1:
            computing, images, began = 0.0, 0, time.perf_counter()
        for sample in read_samples(worker, spec, unit):
            if isinstance(sample, UnreadableSample):
                raise sample
            start = time.perf_counter()
            session.run(sample.inputs)
            computing += time.perf_counter() - start
            images += 1
    seconds = time.perf_counter() - began
    named = f"in actors: {actors}" if actors else f"in threads: {threads}"
    return Busy(named, images / seconds, computing / seconds)


def hand_over(spec: DatasetSpec, actors: int) -> float:
    """Seconds until the worker has a photo that is decoded already; the median of 16."""
    worker, times = with_decoders(1, actors), []
    samples = read_samples(worker, spec, range(24))
    for _ in range(24):
        time.sleep(0.1)  # the next four are decoded meanwhile
        start = time.perf_counter()
        next(samples)
        times.append(time.perf_counter() - start)
    return float(np.median(times[8:]))


def alone(spec: DatasetSpec, model: bytes) -> tuple[float, float]:
    """Seconds of one decode and of one forward, each with nothing beside it; medians of 16."""
    worker = Worker(WorkerSettings(), fetch=lambda blob: blob.handle)
    dataset, session = open_dataset(worker, spec), open_session(worker, Blob(sha256_bytes(model), model))
    times = []
    for index in range(16):
        start = time.perf_counter()
        sample = dataset.load(index)
        decoded = time.perf_counter()
        session.run(sample.inputs)
        times.append((decoded - start, time.perf_counter() - decoded))
    decode, forward = np.median(np.array(times), axis=0).tolist()
    return decode, forward


def table(images: int, threads: list[int], actors: list[int], seed: int) -> list[str]:
    """Lines of Markdown."""
    cluster = RayCluster("local", max(actors, default=1))
    with tempfile.TemporaryDirectory() as folder, contextlib.closing(cluster):
        spec, model = write_photos(Path(folder), images, seed), network(seed)
        decode, forward = alone(spec, model)
        from_thread, from_actor = hand_over(spec, 0), hand_over(spec, 1)
        rows = [measure(spec, model, number, 0) for number in threads]
        rows += [measure(spec, model, 0, number) for number in actors]
    return [
        f"{images} JPEG photos of {WIDTH}x{HEIGHT}, load average {os.getloadavg()[0]:.0f}: one decode takes",
        f"{decode * 1000:.1f} ms, one forward {forward * 1000:.1f} ms (`scripts/benchmarks/decoding.py`).",
        f"A photo that is decoded already ({HEIGHT * WIDTH * 12 / 1e6:.1f} MB of float32) reaches the worker",
        f"in {from_thread * 1000:.1f} ms from a thread and in {from_actor * 1000:.1f} ms from an actor.",
        "",
        "| --decode-workers | images/s | session busy |",
        "| --- | --- | --- |",
        *(f"| {row.decoders} | {row.images_per_second:.1f} | {row.busy:.1%} |" for row in rows),
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--images", type=int, default=160)
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--actors", type=int, nargs="*", default=[1, 2])
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    print("\n".join(table(given.images, given.threads, given.actors, given.seed)))


if __name__ == "__main__":
    main()
