"""Seconds of the search with one worker and with two, on few and on many tuning samples.

    .venv/bin/python scripts/benchmarks/search_workers.py
    .venv/bin/python scripts/benchmarks/search_workers.py --models squeezenet1.1 --images 20 --repeats 3
    .venv/bin/python scripts/benchmarks/search_workers.py --strategy bitmain --images 20

The numbers of workers take turns. Printed is the median of the ratios, each of one repeat. Thresholds are the
same whatever the number, which is checked. The last column is what two processes that share nothing get out
of the cores with the same INT8 network, measured in between.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from core_sharing import throughput_of_two
from tuning_job import open_tuning

from distq.stages.calibrated import calibrated
from distq.stages.search import search, searched_quantizers
from distq.stages.start import choose_start

STRATEGIES: Mapping[str, Mapping[str, Any]] = {
    "default": {},
    "bitmain": {"rounding": "nearest", "bias_correction": False},
}


JOB = ("calibrate", "start", "search")
"""Parts of a job; calibrating includes its correction. Only the default strategy chooses its start."""


@dataclass(frozen=True)
class Measured:
    """Seconds of the parts of a job, what was found, and the calibrated network with an image for it."""

    seconds: dict[str, float]
    thresholds: dict[str, float]
    model: bytes
    feeds: Mapping[str, Any]


def measure(network: str, images: int, workers: int, strategy: str) -> Measured:
    """One job."""
    given = {"samples": images, "tune_samples": images, "executor": "ray", "workers": workers}
    with open_tuning(network, **given, strategy=strategy, **STRATEGIES[strategy]) as (run, options):
        times = [time.perf_counter()]
        before = calibrated(run)
        times.append(time.perf_counter())
        start = choose_start(run, options, before)
        times.append(time.perf_counter())
        tuned = search(run, options, start, searched_quantizers(options, start))
        times.append(time.perf_counter())
        thresholds = {name: row.threshold for name, row in tuned.table.items()}
        model = before.exported
        feeds = run.data.open().load(0).inputs
    seconds = [after - before for before, after in pairwise(times)]
    return Measured(dict(zip(JOB, seconds, strict=True)), thresholds, model, feeds)


def compare(network: str, images: int, repeats: int, strategy: str) -> str:
    """A row of the table."""
    ratios: dict[str, list[float]] = {}
    for _ in range(repeats):
        one, two = (measure(network, images, workers, strategy) for workers in (1, 2))
        if one.thresholds != two.thresholds:
            raise SystemExit(f"{network}: two workers found other thresholds than one")
        print(f"{network}, {images} images, one worker and two", end="", flush=True)
        for part in JOB:
            seconds = one.seconds[part], two.seconds[part]
            print(f"; {part} {seconds[0]:.2f} s, {seconds[1]:.2f} s", end="")
            ratios.setdefault(part, []).append(seconds[0] / seconds[1])
        ratios.setdefault("two processes", []).append(throughput_of_two(one.model, one.feeds))
        print(f"; two processes {ratios['two processes'][-1]:.2f}x", flush=True)
    if strategy != "default":
        ratios["start"] = []
    cells = [f"{statistics.median(values):.2f}x" if values else "-" for values in ratios.values()]
    return f"| {network} | {images} | {' | '.join(cells)} |"


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    names = ("version-RFB-320", "mobilenet_v1_0.75_224", "squeezenet1.1")
    parser.add_argument("--models", nargs="+", default=names, help="names in configs/")
    parser.add_argument("--images", nargs="+", type=int, default=(20, 128))
    parser.add_argument("--strategy", choices=tuple(STRATEGIES), default="default")
    parser.add_argument("--repeats", type=int, default=1)
    given = parser.parse_args()
    rows = [
        compare(model, images, given.repeats, given.strategy)
        for images in given.images
        for model in given.models
    ]
    head = f"| network | images | {' | '.join(JOB)} | two processes |\n{'| --- ' * 6}|"
    print(f"\n{head}", *rows, sep="\n")


if __name__ == "__main__":
    main()
