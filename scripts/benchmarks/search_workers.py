"""Seconds of the search with one worker and with two, on few and on many tuning images.

    .venv/bin/python scripts/benchmarks/search_workers.py
    .venv/bin/python scripts/benchmarks/search_workers.py --models squeezenet1.1 --images 20 --repeats 3

The numbers of workers take turns. Printed is the median of the ratios, each of one repeat. Thresholds are the
same whatever the number, which is checked.
"""

from __future__ import annotations

import argparse
import statistics
import time

from tuning_job import open_tuning

from distq.jobs.calibrate import calibrated
from distq.jobs.tune import choose_start, chosen_quantizers, search


def seconds_of(network: str, images: int, workers: int) -> tuple[float, float, dict[str, float]]:
    """Seconds to choose the start and to search from it, and the thresholds found."""
    given = {"samples": images, "tune_samples": images, "executor": "ray", "workers": workers}
    with open_tuning(network, **given) as (job, options):
        table, state = calibrated(job)
        began = time.perf_counter()
        searching, start, start_state = choose_start(job, options, table, state)
        chosen = time.perf_counter()
        layers = chosen_quantizers(options, searching)
        tuned, _ = search(searching, options, layers, start, start_state)
        ended = time.perf_counter()
    return chosen - began, ended - chosen, {name: row.threshold for name, row in tuned.items()}


def compare(network: str, images: int, repeats: int) -> str:
    """A row of the table."""
    starts, searches = [], []
    for _ in range(repeats):
        one, two = (seconds_of(network, images, workers) for workers in (1, 2))
        if one[2] != two[2]:
            raise SystemExit(f"{network}: two workers found other thresholds than one")
        starts.append(one[0] / two[0])
        searches.append(one[1] / two[1])
        print(f"{network}, {images} images: start {one[0]:.1f} s, {two[0]:.1f} s", end="; ", flush=True)
        print(f"search {one[1]:.1f} s, {two[1]:.1f} s", flush=True)
    ratios = (f"{statistics.median(ratios):.2f}x" for ratios in (starts, searches))
    return f"| {network} | {images} | {' | '.join(ratios)} |"


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    names = ("version-RFB-320", "mobilenet_v1_0.75_224", "squeezenet1.1")
    parser.add_argument("--models", nargs="+", default=names, help="names in configs/")
    parser.add_argument("--images", nargs="+", type=int, default=(20, 128))
    parser.add_argument("--repeats", type=int, default=1)
    given = parser.parse_args()
    rows = [compare(model, images, given.repeats) for images in given.images for model in given.models]
    print("\n| network | images | start | search |\n| --- | --- | --- | --- |", *rows, sep="\n")


if __name__ == "__main__":
    main()
