"""Large data sets: seconds to open and plan one, and memory of driver and workers as calibration grows.

    .venv/bin/python scripts/benchmarks/large_data.py --write
    .venv/bin/python scripts/benchmarks/large_data.py --records 10000 --samples 100 1000

It makes an LMDB of small noisy pictures, a list of as many lines, and a network of three layers. Opening and
planning runs in a process of its own: the source is opened, samples are selected and cut into shards, and
the manifest is computed, as ``distq calibrate`` does before it starts workers. Memory is what belongs to a
process alone (``Anonymous`` in Linux's ``smaps_rollup``; pages of the mapped database are the system's), the
most seen while a whole ``distq calibrate`` runs.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import decoding
import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from distq.data.dataset import DatasetSpec
from distq.data.datum import Datum, encode_datum
from distq.data.lmdb_write import BatchWriter
from distq.data.manifest import manifest
from distq.data.samples import InputSpec
from distq.data.shards import select, shard
from distq.files import atomic_write

DOCUMENT = Path(__file__).parents[2] / "docs" / "benchmarks.md"
BEGIN, END = "<!-- large-data:begin -->", "<!-- large-data:end -->"
_POLL_SECONDS = 0.2
CACHE = 128
"""--cache-memory, MiB: more than the cuts and sessions of the small network take."""


@dataclass(frozen=True)
class Planned:
    """What opening and planning took, in seconds of the clock and of the processor, and MiB of memory."""

    open_seconds: float
    seconds: float
    cpu_seconds: float
    shards: int
    memory: float


@dataclass(frozen=True)
class Calibrated:
    """What a calibration took; memory in MiB, of the largest worker."""

    samples: int
    seconds: float
    driver: float
    worker: float
    folder: float


def write_lmdb(folder: Path, records: int, side: int, seed: int) -> None:
    """An LMDB of gray noise, labelled by the record's number modulo 10."""
    folder.mkdir()
    random = np.random.default_rng(seed)
    writer = BatchWriter(folder)
    for number in range(records):
        datum = Datum(1, side, side, random.bytes(side * side), number % 10)
        writer.put(b"%08d_%d.png" % (number, number), encode_datum(datum))
    writer.commit()
    writer.close()


def write_list(path: Path, lines: int) -> None:
    """A list of files that do not exist: planning touches a thousand of them."""
    path.write_text("".join(f"photos/{number:07d}.jpg {number % 1000}\n" for number in range(lines)))


def write_model(path: Path, side: int, seed: int) -> None:
    """Two convolutions and a Gemm over gray pictures."""
    random = np.random.default_rng(seed)
    shapes = {"w1": (8, 1, 3, 3), "b1": (8,), "w2": (16, 8, 3, 3), "b2": (16,), "w3": (16, 10), "b3": (10,)}
    weights = [
        numpy_helper.from_array(random.standard_normal(shape).astype(np.float32) * 0.2, name)
        for name, shape in shapes.items()
    ]
    nodes = [
        helper.make_node("Conv", ["x", "w1", "b1"], ["c1"], pads=[1] * 4),
        helper.make_node("Relu", ["c1"], ["r1"]),
        helper.make_node("Conv", ["r1", "w2", "b2"], ["c2"], pads=[1] * 4),
        helper.make_node("Relu", ["c2"], ["r2"]),
        helper.make_node("GlobalAveragePool", ["r2"], ["p"]),
        helper.make_node("Flatten", ["p"], ["f"]),
        helper.make_node("Gemm", ["f", "w3", "b3"], ["y"]),
    ]
    info = helper.make_tensor_value_info
    graph = helper.make_graph(
        nodes,
        "small",
        [info("x", TensorProto.FLOAT, (1, 1, side, side))],
        [info("y", TensorProto.FLOAT, (1, 10))],
        weights,
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path)


def plan(source: Path, side: int, *, shuffle: bool) -> Planned:
    """Open a source and plan a calibration on all of it; shards of 8."""
    began, cpu = time.perf_counter(), time.process_time()
    spec = DatasetSpec.create(source, [InputSpec("x", (1, 1, side, side), "float32")])
    count = len(spec.open())
    opened = time.perf_counter()
    selection = select(count, 0, 64, None, shuffle, 0)
    pieces = shard(selection.calibration, 8)
    manifest(spec, selection.calibration)
    ended = time.perf_counter()
    return Planned(
        opened - began, ended - began, time.process_time() - cpu, len(pieces), own_memory(os.getpid())
    )


def plan_apart(source: Path, side: int, *, shuffle: bool) -> Planned:
    """The same in a process of its own."""
    command = [sys.executable, __file__, "--plan", str(source), "--side", str(side)]
    done = subprocess.run([*command, *(["--shuffle"] if shuffle else [])], check=True, capture_output=True)
    return Planned(**json.loads(done.stdout))


def calibrate(model: Path, data: Path, out: Path, samples: int, workers: int) -> Calibrated:
    """Calibrate on so many samples and watch the memory."""
    command = [sys.executable, "-m", "distq", "calibrate", str(model), "--data", str(data), "--out", str(out)]
    command += ["--samples", str(samples), "--shuffle", "--workers", str(workers), "--quiet"]
    command += ["--cache-memory", str(CACHE)]
    began = time.perf_counter()
    driver, worker, folder = 0.0, 0.0, 0
    with subprocess.Popen(command, stdout=subprocess.DEVNULL) as process:
        while process.poll() is None:
            driver = max(driver, own_memory(process.pid))
            worker = max([worker, *map(own_memory, unit_actors(process.pid))])
            folder = max(folder, folder_bytes(out))
            time.sleep(_POLL_SECONDS)
    if process.returncode:
        raise SystemExit(f"distq calibrate ended with {process.returncode}")
    return Calibrated(samples, time.perf_counter() - began, driver, worker, folder / 2**20)


def own_memory(process: int) -> float:
    """MiB that belong to a process alone; 0 where it has ended."""
    try:
        text = Path(f"/proc/{process}/smaps_rollup").read_text()
    except OSError:
        return 0.0
    return next((int(line.split()[1]) / 1024 for line in text.splitlines() if line.startswith("Anon")), 0.0)


def unit_actors(driver: int) -> list[int]:
    """Processes of distq's workers below a driver."""
    parents: dict[int, int] = {}
    actors = []
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            parents[int(entry.name)] = int((entry / "stat").read_text().rpartition(")")[2].split()[1])
            if (entry / "cmdline").read_bytes().startswith(b"ray::UnitActor"):
                actors.append(int(entry.name))
        except OSError:
            continue
    return [actor for actor in actors if driver in ancestors(actor, parents)]


def ancestors(process: int, parents: dict[int, int]) -> Iterator[int]:
    """The processes above one."""
    while process in parents:
        process = parents[process]
        yield process


def folder_bytes(folder: Path) -> int:
    """Size of a run while its files come and go."""
    total = 0
    for place, _, files in os.walk(folder):
        for name in files:
            try:
                total += (Path(place) / name).stat().st_size
            except OSError:
                continue
    return total


def document(plans: dict[str, Planned], runs: Sequence[Calibrated], given: argparse.Namespace) -> str:
    """The section of docs/benchmarks.md."""
    lines = [
        "## Large data sets",
        "",
        f"`.venv/bin/python scripts/benchmarks/large_data.py --write`, {time.strftime('%Y-%m-%d')},",
        f"{os.cpu_count()} cores, load average {os.getloadavg()[0]:.0f} (above 2, other work was running):",
        f"{given.records:,} records of {given.side}x{given.side} gray pixels, seed {given.seed}, and a list",
        "of as many lines. Opened, selected, cut into shards and described by a manifest, in a process",
        "of its own:",
        "",
        "| source | open, s | open and plan, s | of the processor, s | shards | memory, MiB |",
        "| --- | --- | --- | --- | --- | --- |",
        *(
            f"| {name} | {p.open_seconds:.2f} | {p.seconds:.2f} | {p.cpu_seconds:.2f} | {p.shards} "
            f"| {p.memory:.0f} |"
            for name, p in plans.items()
        ),
        "",
        f"`distq calibrate --shuffle --workers {given.workers} --cache-memory {CACHE}`",
        "on so many of the LMDB's. Memory belongs to a process alone, is the most seen, and stands beside",
        "that of the first row; the run folder, journal included, at its largest:",
        "",
        "| samples | seconds | driver, MiB | worker, MiB | run folder, MiB |",
        "| --- | --- | --- | --- | --- |",
        *(
            f"| {run.samples:,} | {run.seconds:.0f} | {run.driver:.0f} ({run.driver / runs[0].driver:.2f}x) "
            f"| {run.worker:.0f} ({run.worker / runs[0].worker:.2f}x) | {run.folder:.1f} |"
            for run in runs
        ),
        "",
        *decoding.table(160, [1, 2], [1, 2], given.seed),
    ]
    return "\n".join(lines)


def write(section: str) -> None:
    """Put the section between its markers, at the end where there are none."""
    text = DOCUMENT.read_text()
    if BEGIN not in text:
        text = f"{text.rstrip()}\n\n{BEGIN}\n{END}\n"
    before, _, rest = text.partition(BEGIN)
    after = rest.partition(END)[2]
    atomic_write(DOCUMENT, f"{before}{BEGIN}\n{section}\n{END}{after}".encode())


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--records", type=int, default=1_000_000)
    parser.add_argument("--samples", type=int, nargs="+", default=[1000, 10_000, 100_000])
    parser.add_argument("--side", type=int, default=8, help="pixels")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--write", action="store_true", help="into docs/benchmarks.md")
    parser.add_argument("--plan", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--shuffle", action="store_true", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.plan is not None:
        print(json.dumps(asdict(plan(given.plan, given.side, shuffle=given.shuffle))))
        return
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_lmdb(folder / "lmdb", given.records, given.side, given.seed)
        write_list(folder / "list.txt", given.records)
        write_model(folder / "model.onnx", given.side, given.seed)
        plans = {
            f"{source}{', shuffled' if shuffle else ''}": plan_apart(
                folder / source, given.side, shuffle=shuffle
            )
            for source in ("lmdb", "list.txt")
            for shuffle in (False, True)
        }
        runs = []
        for samples in given.samples:
            runs.append(
                calibrate(
                    folder / "model.onnx", folder / "lmdb", folder / str(samples), samples, given.workers
                )
            )
            print(runs[-1], flush=True)
    section = document(plans, runs, given)
    print(section)
    if given.write:
        write(section)


if __name__ == "__main__":
    main()
