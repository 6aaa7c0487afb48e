"""What bounds a tuning job on 8, 64 and 512 GPUs, from measured unit costs and a model checked on 1, 2 and 4.

    .venv/bin/python scripts/benchmarks/scaling.py NETWORK [--gpu 20] [--repeats 2] [--no-check]

The model (scaling_model.py) plays the rounds of a recorded job. It is run for the workers of this machine
beside the real job on Ray, and then for clusters that are not here.
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest.mock import patch

from scaling_model import Machine, simulate, unit_seconds, with_samples
from scaling_trace import RoundCost, record
from tuning_job import tune_options

import distq.engine.factory
from distq.data.shards import MOST_SHARDS
from distq.engine.progress import SilentReporter
from distq.engine.ray_cluster import RayCluster, machine_cores
from distq.engine.ray_pool import RayExecutor
from distq.engine.ray_round import Round
from distq.engine.ray_seat import Seat
from distq.jobs.tune import tune
from distq.replica.worker import WorkerSettings

GPUS = (8, 64, 512)
WORKERS = (1, 2, 4)  # that the model is checked with
SAMPLES = (128, 1024, 100_000)
SAMPLE_BYTES = 110e3  # of a photo of ImageNet
BANDWIDTH = 2e9  # of a shared file system, bytes per second
DECODERS = 8  # CPU threads beside a GPU


class Nothing:
    """A unit that does nothing: what remains is Ray."""

    key = label = "nothing"

    def run(self, worker: object) -> dict[str, Any]:
        """Nothing."""
        del worker
        return {}


class Started(RayExecutor):
    """Waits until all workers answer, so that Ray's start is not part of what is measured."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        for _ in self.run([Nothing()] * 8 * self.workers):
            pass


def measure_ray() -> tuple[float, float]:
    """Driver seconds and seconds of waiting for a unit that does nothing, on one worker."""
    with Started(1, WorkerSettings()) as executor:
        begun, cpu, count = time.perf_counter(), time.process_time(), 300
        for _ in executor.run([Nothing()] * count):
            pass
        spent = time.process_time() - cpu
        alone = time.perf_counter()
        for _ in range(100):
            for _ in executor.run([Nothing()]):
                pass
        return min(spent, alone - begun) / count, (time.perf_counter() - alone) / 100


class _Still:
    """An actor or a method of one that answers at once."""

    def __getattr__(self, name: str) -> Any:
        return (lambda *_: object()) if name == "remote" else self


def measure_bookkeeping(workers: int, units: int, results: int = 30) -> float:
    """Seconds of the driver's own bookkeeping for one result, with a stand-in for Ray that takes no time."""
    kinds = (
        "RayActorError",
        "ObjectLostError",
        "WorkerCrashedError",
        "NodeDiedError",
        "OutOfMemoryError",
        "RayTaskError",
    )
    errors = SimpleNamespace(**{kind: type(kind, (Exception,), {}) for kind in (*kinds, "RayError")})
    ray = SimpleNamespace(
        exceptions=errors, wait=lambda found, **_: (found[:1], found[1:]), get=lambda _: _Answer()
    )
    seats = [Seat(ray, _Still) for _ in range(workers)]
    cluster: Any = SimpleNamespace(ray=ray, require_head=lambda: None)
    whole: Any = Round(
        cluster,
        seats,
        [Nothing()] * units,
        retries=3,
        start_seconds=1e9,
        on_event=print,
        processors=None,
        attend=lambda: None,
    ).results()
    for _ in range(8):
        next(whole)
    begun = time.thread_time()
    for _ in range(results):
        next(whole)
    return (time.thread_time() - begun) / results


class _Answer(dict[str, Any]):
    """A result without arrays, which also unpacks as a greeting."""

    def __iter__(self) -> Any:
        return iter(("here", "one kind"))


def measure_job(network: str, workers: int) -> float:
    """Seconds of the job on Ray, from its first unit to its end."""
    with (
        tempfile.TemporaryDirectory() as folder,
        patch.object(distq.engine.factory, "RayExecutor", Started),
    ):
        options = tune_options(network, Path(folder), executor="ray", workers=workers)
        spent = []
        opened = Started.__init__

        def note(self: Started, *arguments: Any, **given: Any) -> None:
            opened(self, *arguments, **given)
            spent.append(time.perf_counter())

        with patch.object(Started, "__init__", note):
            tune(options, SilentReporter())
        return time.perf_counter() - spent[0]


@dataclass(frozen=True)
class Sleep:
    """A unit that takes as long as a recorded one and needs no core."""

    seconds: float
    affinity: int | None
    key: str = "sleep"
    label: str = "sleep"

    def run(self, worker: object) -> dict[str, Any]:
        """Wait."""
        del worker
        time.sleep(self.seconds)
        return {}


def replay(rounds: list[RoundCost], workers: int, machine: Machine) -> float:
    """Seconds that distq's own pool takes for the recorded rounds, with units and a driver that sleep."""
    with Started(workers, WorkerSettings()) as executor:
        begun = time.perf_counter()
        for each in rounds:
            time.sleep(each.gap)
            units = [Sleep(unit_seconds(unit, machine), unit.affinity) for unit in each.units]
            for position, _ in executor.run(units):
                time.sleep(each.units[position].driver)
        return time.perf_counter() - begun


def check(network: str, rounds: list[RoundCost], ray: tuple[float, float], repeats: int) -> None:
    """The model beside distq's pool with units that sleep, and beside the real job on these cores."""
    played: list[list[float]] = [[] for _ in WORKERS]
    measured: list[list[float]] = [[] for _ in WORKERS]
    for _ in range(repeats):  # one after the other, so that a busy minute hits all
        for each, pool, job in zip(WORKERS, played, measured, strict=True):
            pool.append(replay(rounds, each, Machine(each, *ray)))
            job.append(measure_job(network, each))
    cores = machine_cores()
    columns = ("workers", "model, enough cores", "pool, sleeping units", f"model, {cores} cores", "job")
    print(f"\nLoad average {os.getloadavg()[0]:.0f} on {cores} cores; the best of {repeats}")
    print(f"\n| {' | '.join(columns)} |\n|{' --- |' * len(columns)}")
    for each, pool, job in zip(WORKERS, played, measured, strict=True):
        wide, here = (simulate(rounds, Machine(each, *ray, cores=n)).seconds for n in (None, cores))
        print(f"| {each} | {wide:.1f} s | {min(pool):.1f} s | {here:.1f} s | {min(job):.1f} s |")


def report(rounds: list[RoundCost], ray: tuple[float, float], own: dict[int, float], gpu: float) -> None:
    """Times and bounds on clusters that are not here."""
    print(
        f"\nGPU {gpu:g} times the core; {DECODERS} decoding threads a GPU; storage {BANDWIDTH / 1e9:g} GB/s"
    )
    columns = (
        "samples",
        "GPUs",
        "units",
        "job",
        "job, no bookkeeping",
        "decode",
        "storage",
        "sessions",
        "counting",
    )
    columns += ("bookkeeping", "dispatch", "merge", "order")
    print(f"\n| {' | '.join(columns)} |\n|{' --- |' * len(columns)}")
    for samples in SAMPLES:
        job = with_samples(rounds, samples)
        for workers in GPUS:
            machine = Machine(
                workers, *ray, gpu=gpu, decoders=DECODERS, bandwidth=BANDWIDTH, sample_bytes=SAMPLE_BYTES
            )
            best = simulate(job, machine)
            whole = simulate(job, replace(machine, dispatch=ray[0] + own[workers])).seconds
            bounds = (best.decode, best.storage, best.sessions, best.counting, own[workers] * best.units)
            bounds += (best.dispatch, best.merge, best.order)
            cells = (whole, best.seconds, *bounds)
            print(f"| {samples:,} | {workers} | {best.units:,} | {' | '.join(f'{x:,.1f}' for x in cells)} |")


def costs(rounds: list[RoundCost]) -> None:
    """The unit costs themselves."""
    print("\n| unit | rounds | units | images | setup ms | session ms | decode ms | rest ms | driver ms |")
    print("| --- | --- | --- | --- | --- | --- | --- | --- | --- |")
    kinds = dict.fromkeys(unit.kind for each in rounds for unit in each.units)
    for kind in kinds:
        units = [unit for each in rounds for unit in each.units if unit.kind == kind]
        count = sum(1 for each in rounds if each.units[0].kind == kind)
        fields = ("setup", "infer", "decode", "rest", "driver")
        means = (f"{1e3 * sum(getattr(unit, name) for unit in units) / len(units):.2f}" for name in fields)
        print(f"| {kind} | {count} | {len(units)} | {sum(u.images for u in units)} | {' | '.join(means)} |")
    print(f"\nThe driver between rounds: {sum(each.gap for each in rounds):.2f} s in {len(rounds)} rounds")


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0] if __doc__ else None)
    parser.add_argument("network")
    parser.add_argument("--gpu", type=float, default=20.0, help="how much faster than a core; an assumption")
    parser.add_argument("--repeats", type=int, default=2)
    parser.add_argument("--no-check", action="store_true")
    given = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory() as folder:
        rounds = record(given.network, Path(folder))
    costs(rounds)
    cluster = RayCluster(None, cpus=max(WORKERS))  # every executor below takes this process's Ray
    ray = measure_ray()
    print(
        f"\nRay: {1e3 * ray[0]:.2f} ms of the driver for a unit, {1e3 * ray[1]:.2f} ms until one comes back"
    )
    own = {workers: measure_bookkeeping(workers, MOST_SHARDS) for workers in GPUS}
    texts = (f"{workers} workers {1e3 * seconds:.2f} ms" for workers, seconds in own.items())
    print(f"\nThe pool's bookkeeping for a result, in a round of {MOST_SHARDS} units: {', '.join(texts)}")
    report(rounds, ray, own, given.gpu)
    if not given.no_check:
        check(given.network, rounds, ray, given.repeats)
    cluster.close()


if __name__ == "__main__":
    main()
