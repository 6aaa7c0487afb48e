"""Compares distq on GPUs with distq on the processor, and prints a table.

    scripts/gpu_check                                  # the network of the demo
    scripts/gpu_check configs/squeezenet1.1.yaml ...   # the networks of job files

For each network: calibration on the processor and on the GPU, the largest relative difference of a threshold,
and the images a second that calibration takes with one and with two replicas on each GPU, decoding included.

Float sums in another order move a threshold a little, most where it is the best of many alike (MSE): two
kernels of one processor gave up to 0.8 %, so the default tolerance is 1 %.

Exit codes: 0 all thresholds agree within --tolerance, 3 some do not, 2 there is no GPU, or bad input.
"""

from __future__ import annotations

import argparse
import itertools
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console
from rich.table import Table

import distq
from distq.config import CalibrateOptions
from distq.engine.progress import SilentReporter
from distq.engine.ray_cluster import machine_cores
from distq.engine.ray_pool import RayExecutor
from distq.errors import DistqError, UsageError
from distq.graph.probes import with_outputs
from distq.jobfile import load_job
from distq.jobs.calibrate import calibrate
from distq.quant.table import read_table
from distq.replica.cuda import gpu_count
from distq.replica.float32 import Observe
from distq.replica.session import device_of
from distq.replica.worker import WorkerSettings
from distq.run.open import prepare_model
from distq.run.samples import prepare_data

ASSETS = Path(distq.__file__).parent / "assets"
TAKEN = ("model", "data", "preprocess", "samples", "holdout", "method", "scheme", "bins", "target")
REPLICAS = (1, 2)  # on each GPU
SHARD = 8


@dataclass(frozen=True)
class Agreement:
    """How far the thresholds of two devices are apart.

    Attributes:
        tensors: how many were compared.
        largest: difference of a threshold, relative to the processor's.
        beyond: tensors whose difference is over the tolerance, the worst first.
    """

    tensors: int
    largest: float
    beyond: tuple[str, ...]


@dataclass(frozen=True)
class Row:
    """One network: its thresholds, and images a second by replicas on each GPU."""

    network: str
    agreement: Agreement
    rates: Mapping[int, float]


def agreement(cpu: Mapping[str, float], gpu: Mapping[str, float], tolerance: float) -> Agreement:
    """Compare thresholds by tensor.

    Raises:
        ValueError: they are not of the same tensors.
    """
    if cpu.keys() != gpu.keys():
        raise ValueError(f"tensors of one device only: {sorted(cpu.keys() ^ gpu.keys())}")
    apart = {name: abs(gpu[name] - cpu[name]) / abs(cpu[name]) for name in cpu}
    beyond = sorted((name for name in apart if not apart[name] <= tolerance), key=lambda name: -apart[name])
    return Agreement(len(apart), max(apart.values(), default=0.0), tuple(beyond))


def thresholds(options: CalibrateOptions, device: str, out: Path) -> dict[str, float]:
    """What calibration finds on one device, by tensor."""
    calibrate(options.model_copy(update={"device": device, "out": out}), SilentReporter())
    return {name: row.threshold for name, row in read_table(out / "thresholds.json").items()}


def rate(options: CalibrateOptions, device: str, replicas: int, images: int) -> float:
    """Images a second of calibration with so many replicas on each GPU, once all sessions are open."""
    loaded, plan = prepare_model(options)
    data, _, selection = prepare_data(options, loaded, SilentReporter())
    tensors = tuple(quantizer.name for quantizer in plan.quantizers)
    gpus = max(1, gpu_count())
    cpus = max(1, machine_cores() // (replicas * gpus))
    settings = WorkerSettings(device, decode_threads=cpus)
    with RayExecutor(
        replicas * gpus, settings, cpus=cpus, gpus=1 / replicas if device == "cuda" else None
    ) as executor:
        model = executor.share(with_outputs(loaded.model, tensors))
        samples = itertools.cycle(selection.calibration)
        pieces = [tuple(itertools.islice(samples, SHARD)) for _ in range(-(-images // SHARD))]
        units = [Observe(model, tensors, data, piece) for piece in pieces]
        for _ in executor.run([units[0]] * 4 * executor.workers):
            pass
        began = time.perf_counter()
        for _ in executor.run(units):
            pass
        return len(units) * SHARD / (time.perf_counter() - began)


def check(options: CalibrateOptions, device: str, tolerance: float, images: int) -> Row:
    """Everything about one network."""
    with tempfile.TemporaryDirectory(prefix="distq-") as folder:
        on_cpu, on_gpu = (thresholds(options, name, Path(folder) / place)
                          for name, place in (("cpu", "a"), (device, "b")))  # fmt: skip
    rates = {replicas: rate(options, device, replicas, images) for replicas in REPLICAS}
    return Row(options.model.stem, agreement(on_cpu, on_gpu, tolerance), rates)


def table(rows: Sequence[Row], tolerance: float) -> Table:
    """The result for a person."""
    shown = Table(title=f"Thresholds of GPU and processor, tolerance {tolerance:.2%}", title_justify="left")
    shown.add_column("network")
    for column in ("tensors", "largest difference", "beyond", "images/s, 1 per GPU", "2 per GPU", "ratio"):
        shown.add_column(column, justify="right")
    for row in rows:
        one, two = (row.rates[replicas] for replicas in REPLICAS)
        found = row.agreement
        figures = (
            f"{found.largest:.4%}",
            str(len(found.beyond)),
            f"{one:.1f}",
            f"{two:.1f}",
            f"{two / one:.2f}",
        )
        shown.add_row(row.network, str(found.tensors), *figures)
    return shown


def job_options(job: Path | None, samples: int) -> CalibrateOptions:
    """A calibration of the network of a job file, or of the demo's; no correction, in this process."""
    if job is None:
        given: dict[str, object] = {
            "model": ASSETS / "digits.onnx",
            "data": ASSETS / "labels.txt",
            "preprocess": ASSETS / "preprocess.yaml",
        }
    else:
        found = load_job(job).options.model_dump(exclude_unset=True)
        given = {name: found[name] for name in TAKEN if name in found}
    fixed = {"samples": samples, "holdout": 0, "bias_correction": False, "rounding": "nearest"}
    return CalibrateOptions.model_validate({**given, **fixed, "executor": "local", "out": Path()})


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("jobs", type=Path, nargs="*", metavar="JOB.yaml", help="calibrate or tune")
    parser.add_argument("--samples", type=int, default=64, help="that calibrate (default: 64)")
    parser.add_argument("--images", type=int, default=1024, help="that are timed (default: 1024)")
    parser.add_argument(
        "--tolerance", type=float, default=0.01, help="of a threshold, relative (default: 0.01)"
    )
    given = parser.parse_args(arguments)
    if device_of(WorkerSettings("auto")) == "cpu":
        print(
            "gpu_check: ONNX Runtime finds no CUDA device here: run this on a machine with an NVIDIA GPU, "
            "with the Python that distq[cuda] is installed in (PYTHON=...)",
            file=sys.stderr,
        )
        return UsageError.exit_code
    try:
        jobs = [job_options(job, given.samples) for job in given.jobs or [None]]
        rows = [check(options, "cuda", given.tolerance, given.images) for options in jobs]
    except DistqError as error:
        print(f"gpu_check: {error}", file=sys.stderr)
        return error.exit_code
    Console().print(table(rows, given.tolerance))
    for row in rows:
        for name in row.agreement.beyond:
            print(f"{row.network}: {name} differs by more than {given.tolerance:.2%}")
    return 3 if any(row.agreement.beyond for row in rows) else 0


if __name__ == "__main__":
    sys.exit(main())
