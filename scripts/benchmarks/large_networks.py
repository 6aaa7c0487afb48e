"""What large networks cost, stage by stage: seconds, memory, and how both grow with the network.

    .venv/bin/python scripts/benchmarks/large_networks.py                    # all families, as a table each
    .venv/bin/python scripts/benchmarks/large_networks.py vit --sizes 12     # one of them
    .venv/bin/python scripts/benchmarks/large_networks.py vit --sizes 12 --nncf PEERS/bin/python

Networks (``large_models.py``) and inputs are random. Every run is a process of its own; with ``--nncf`` distq
on one worker and on two and NNCF take turns, ``--rounds`` times. Seconds of a busy machine say little: with
``--options '{"executor": "local"}'`` what is printed has the seconds of processor time beside them.
"""

from __future__ import annotations

import argparse
import functools
import importlib
import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from large_models import deep, vit, wide

FAMILIES: dict[str, tuple[tuple[int, ...], Callable[[int], onnx.ModelProto], Callable[[int], int]]] = {
    "vit": ((3, 6, 12), lambda heads: vit(64 * heads, 12, heads), lambda _: 224),
    "deep": ((100, 300, 1000), deep, lambda _: 32),
    "wide": ((256, 512, 1024), wide, lambda side: side),
}
"""Sizes, the network of a size, the side of its images: heads of 64 (tiny, small, base), layers, pixels."""

STAGES = {
    "load": ("distq.run.open:prepare_shown", "distq.run.open:_unchanged"),
    "start workers": ("distq.run.starting:Starting.take",),
    "observe": ("distq.stages.calibrated:with_distributions",),
    "thresholds": ("distq.stages.calibrated:with_thresholds", "distq.stages.method:calibrated_table"),
    "quantized graphs": ("distq.stages.correct:with_nearest_weights", "distq.stages.correct:fused"),
    "float means": ("distq.stages.correct:with_float_means",),
    "round and correct": ("distq.stages.correct:round_and_correct",),
    "compare methods": ("distq.stages.calibrated:best_calibration",),
    "start of search": ("distq.stages.tuned:choose_start",),
    "rest of search": ("distq.jobs.tune:tuned",),
    "keep": ("distq.jobs.calibrate:keep", "distq.stages.tuned:keep"),
    "finish": ("distq.jobs.calibrate:finish", "distq.jobs.tune:finish"),
}
"""What counts as a stage: functions where they are called from; time in a stage inside counts there alone."""


class Stopwatch:
    """Seconds and peak memory of stages, each without those of the stages that it calls."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = defaultdict(float)
        self.processor: dict[str, float] = defaultdict(float)
        self.peak_mib: dict[str, float] = defaultdict(float)
        self._running: list[str] = []
        self._since = time.monotonic(), time.process_time()

    def switch(self, stage: str | None) -> None:
        """Begin a stage; None ends it."""
        from distq.memory import peak_bytes  # noqa: PLC0415  # NNCF's side runs in another environment

        now = time.monotonic(), time.process_time()
        if self._running:
            self.seconds[self._running[-1]] += now[0] - self._since[0]
            self.processor[self._running[-1]] += now[1] - self._since[1]
            self.peak_mib[self._running[-1]] = max(self.peak_mib[self._running[-1]], peak_bytes() / (1 << 20))
        Path("/proc/self/clear_refs").write_text("5", encoding="ascii")  # Linux forgets the peak, see proc(5)
        self._since = now
        if stage is None:
            self._running.pop()
        else:
            self._running.append(stage)

    def watch(self, stage: str, place: str) -> None:
        """Have a function switch to a stage while it runs."""
        module_name, _, path = place.partition(":")
        *inside, name = path.split(".")
        owner = functools.reduce(getattr, inside, importlib.import_module(module_name))
        function = getattr(owner, name, None)
        if function is None:
            return

        def timed(*arguments: Any, **named: Any) -> Any:  # any function
            self.switch(stage)
            try:
                return function(*arguments, **named)
            finally:
                self.switch(None)

        setattr(owner, name, timed)


def one(job: dict[str, Any]) -> dict[str, Any]:
    """Run a command of distq in this process: seconds by stage, and peak memory."""
    import distq  # noqa: PLC0415  # NNCF's side runs in another environment

    watch = Stopwatch()
    for stage, places in STAGES.items():
        for place in places:
            watch.watch(stage, place)
    command = getattr(distq, job.pop("command"))
    began = time.monotonic()
    watch.switch("else")
    with tempfile.TemporaryDirectory() as folder:
        result = command(out=Path(folder) / "run", **job)
    watch.switch(None)
    return {
        "seconds": time.monotonic() - began,
        "stages": {stage: round(watch.seconds[stage], 2) for stage in (*STAGES, "else")},
        "processor": {stage: round(watch.processor[stage], 2) for stage in (*STAGES, "else")},
        "peaks": {stage: round(peak) for stage, peak in watch.peak_mib.items()},
        "driver_mib": max(watch.peak_mib.values()),
        "worker_mib": list(result.cost.worker_peak_rss_mb),
        "sqnr_db": (result.tuning or result.holdout).before.sqnr_db,
    }


def nncf_one(model: Path, arrays: Path) -> dict[str, Any]:
    """Quantize by NNCF in this process, as transformers want it."""
    import resource  # noqa: PLC0415

    import nncf  # type: ignore[import-not-found]  # noqa: PLC0415  # lives in the peers' environment only
    from peers_run import Samples  # noqa: PLC0415

    samples = Samples(arrays, model)
    began = time.monotonic()
    quantized = nncf.quantize(
        onnx.load(model),
        nncf.Dataset(samples),
        model_type=nncf.ModelType.TRANSFORMER,
        subset_size=len(samples),
    )
    onnx.save(quantized, arrays.with_name("nncf.onnx"))
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return {"seconds": time.monotonic() - began, "processor": time.process_time(), "driver_mib": peak}


def in_process(python: str | Path, *arguments: object) -> dict[str, Any]:
    """What this script prints last when called so."""
    command = [str(python), __file__, *map(str, arguments)]
    made = subprocess.run(command, capture_output=True, text=True, check=False)
    if made.returncode:
        sys.exit(f"{' '.join(command)}\n{made.stderr.strip()}")
    found: dict[str, Any] = json.loads(made.stdout.strip().splitlines()[-1])
    return found


def made(family: str, size: int, samples: int, folder: Path) -> tuple[Path, Path, float]:
    """The files of a network and of its samples, and its million parameters."""
    _, build, side = FAMILIES[family]
    network = build(size)
    model, arrays = folder / f"{family}{size}.onnx", folder / f"{family}{size}.npz"
    onnx.save(network, model)
    images = np.random.default_rng(1).standard_normal((samples, 3, side(size), side(size)), np.float32)
    np.savez(arrays, image=smooth(images))
    parameters = sum(np.prod(t.dims) for t in network.graph.initializer)
    return model, arrays, float(parameters) / 1e6


def smooth(images: np.ndarray[Any, np.dtype[np.float32]]) -> np.ndarray[Any, np.dtype[np.float32]]:
    """Noise whose neighbours are alike, as pixels are, at unit variance."""
    for axis in (2, 3):
        for _ in range(3):
            images = images + np.roll(images, 1, axis)
    return (images / images.std()).astype(np.float32)


def table(rows: list[dict[str, Any]]) -> str:
    """Stages down, runs across."""
    titles = [f"{row['name']}" for row in rows]
    lines = [["", *titles], ["---"] * (len(rows) + 1)]
    lines.append(["million parameters", *(f"{row['parameters']:.1f}" for row in rows)])
    shown = [s for s in (*STAGES, "else") if any(row["stages"][s] >= 0.05 for row in rows)]
    lines += [[stage, *(f"{row['stages'][stage]:.1f}" for row in rows)] for stage in shown]
    lines.append(["processor seconds", *(f"{sum(row['processor'].values()):.1f}" for row in rows)])
    lines.append(["seconds in all", *(f"{row['seconds']:.1f}" for row in rows)])
    lines.append(["peak MiB of the driver", *(f"{row['driver_mib']:.0f}" for row in rows)])
    workers = [", ".join(f"{mib:.0f}" for mib in row["worker_mib"]) or "-" for row in rows]
    lines.append(["of each worker", *workers])
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)


def against_nncf(job: dict[str, Any], python: Path, model: Path, arrays: Path, rounds: int) -> None:
    """Turns of distq on one and two workers and of NNCF; medians and the ratios of each turn."""
    turns = []
    for _ in range(rounds):
        turn = {
            f"distq, {n} workers": in_process(sys.executable, "one", json.dumps({**job, "workers": n}))
            for n in (1, 2)
        }
        turn["NNCF"] = in_process(python, "nncf", model, arrays)
        print(json.dumps(turn), flush=True)
        turns.append({name: found["seconds"] for name, found in turn.items()})
    for name in turns[0]:
        ratio = statistics.median(turn[name] / turn["NNCF"] for turn in turns)
        print(f"{name}: {statistics.median(t[name] for t in turns):.1f} s, {ratio:.2f} times NNCF's")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("families", nargs="*", default=list(FAMILIES), help="vit, deep, wide (all)")
    parser.add_argument("--sizes", help="of the family, separated by commas (its own)")
    parser.add_argument("--command", default="calibrate", choices=("calibrate", "tune"))
    parser.add_argument("--samples", type=int, default=8, help="that calibrate (8)")
    parser.add_argument("--options", default="{}", help="of the command, as JSON")
    parser.add_argument("--nncf", type=Path, help="Python of an environment with NNCF")
    parser.add_argument("--rounds", type=int, default=3, help="of turns with NNCF (3)")
    asked = parser.parse_args()
    more = {"effort": 0, "tune_samples": asked.samples} if asked.command == "tune" else {}
    for family in asked.families:
        rows = []
        sizes = FAMILIES[family][0] if asked.sizes is None else tuple(map(int, asked.sizes.split(",")))
        for size in sizes:
            with tempfile.TemporaryDirectory() as folder:
                model, arrays, parameters = made(family, size, asked.samples, Path(folder))
                job = {"command": asked.command, "model": str(model), "data": str(arrays), "holdout": 0}
                job |= {**more, "samples": asked.samples, **json.loads(asked.options)}
                if asked.nncf is not None:
                    against_nncf(job, asked.nncf, model, arrays, asked.rounds)
                    continue
                found = in_process(sys.executable, "one", json.dumps(job))
                rows.append({"name": f"{family} {size}", "parameters": parameters, **found})
                print(json.dumps(rows[-1]), flush=True)
        if rows:
            print(table(rows))


if __name__ == "__main__":
    if sys.argv[1:2] == ["one"]:
        print(json.dumps(one(json.loads(sys.argv[2]))))
    elif sys.argv[1:2] == ["nncf"]:
        print(json.dumps(nncf_one(*map(Path, sys.argv[2:4]))))
    else:
        main()
