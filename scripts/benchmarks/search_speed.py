"""distq's search against the serial tuner on the same images: seconds, forwards and the error on others.

    .venv/bin/python scripts/benchmarks/search_speed.py
    .venv/bin/python scripts/benchmarks/search_speed.py --models squeezenet1.1 --layers-limit 8 --repeats 3

Every repeat runs, one after the other: the serial loop, ``--strategy bitmain`` from the same thresholds, the
default strategy with and without rounding and bias correction, and the whole command. Ratios are of one
repeat; printed is their median. With ``--layers-limit`` the loop and bitmain visit only so many layers, and
the loop's time and forwards are extrapolated by the number of layers, which the output says.
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from serial_tuner import SerialTuner, report
from tuning_job import evenly, held_out_nmse, open_tuning, tune_options

from distq.config import TuneOptions
from distq.run.context import Run
from distq.stages.calibrated import calibrated
from distq.stages.form import Form
from distq.stages.search import chosen_quantizers, search, searched_quantizers
from distq.stages.settle import settle
from distq.stages.start import choose_start

NETWORKS = ("version-RFB-320", "mobilenet_v1_0.75_224", "squeezenet1.1")
PLAIN = {"rounding": "nearest", "bias_correction": False}
"""Thresholds alone: weights rounded to nearest, biases as they were."""


@dataclass(frozen=True)
class Figures:
    """What one way of tuning took and gained.

    ``forwards`` are INT8 forwards in whole networks; ``before`` and ``after`` the held-out NMSE.
    """

    seconds: float
    forwards: float
    scored: int
    before: float
    after: float
    thresholds: dict[str, float]


@dataclass(frozen=True)
class Repeat:
    """One repeat: the loop (extrapolated where ``scale`` is above 1) and what stands against it."""

    loop: Figures
    bitmain: Figures
    plain: Figures
    full: Figures
    settle_seconds: float
    command_seconds: float
    scale: float

    @property
    def loop_seconds(self) -> float:
        """All layers."""
        return self.loop.seconds * self.scale

    @property
    def loop_forwards(self) -> float:
        """All layers."""
        return self.loop.forwards * self.scale


def run_repeat(network: str, limit: int | None, on: Mapping[str, Any], effort: int) -> Repeat:
    """Everything once, one after the other; ``on`` says where distq runs."""
    with open_tuning(network, strategy="bitmain", **PLAIN, **on) as (run, options):
        loop, bitmain, scale = serial_and_bitmain(network, run, options, limit)
    with open_tuning(network, effort=effort, **PLAIN, **on) as (run, options):
        plain, _ = default_strategy(f"{network}: default, thresholds alone", run, options)
    with open_tuning(network, effort=effort, **on) as (run, options):
        full, settling = default_strategy(f"{network}: default", run, options)
    command = whole_command(network, on, effort)
    print(f"{network}: whole command {command:.1f} s", flush=True)
    return Repeat(loop, bitmain, plain, full, settling, command, scale)


def serial_and_bitmain(
    network: str, run: Run, options: TuneOptions, limit: int | None
) -> tuple[Figures, Figures, float]:
    """The serial loop and distq's form of it, from the same thresholds over the same layers."""
    start = calibrated(run)
    layers = chosen_quantizers(options, start)
    visited = evenly(layers, limit)
    tuner = SerialTuner(run, start)
    tuner.tune(visited)
    print(f"{network}: serial loop: {report(tuner, len(layers))}", flush=True)
    forwards, began = run.cost().int8_forwards, time.perf_counter()
    tuned = search(run, options, start, visited)
    seconds, forwards = time.perf_counter() - began, run.cost().int8_forwards - forwards
    before, loop_after, after = held_out_nmse(run, start, tuner.form, tuned)
    tally = tuner.tally
    loop = Figures(
        tally.total, tally.int8_forwards, tally.candidates, before, loop_after, thresholds(tuner.form)
    )
    bitmain = Figures(seconds, forwards, scored(run), before, after, thresholds(tuned))
    print(f"{network}: serial loop: {line(loop)}\n{network}: bitmain: {line(bitmain)}", flush=True)
    for name in sorted(n for n, t in loop.thresholds.items() if t != bitmain.thresholds[n]):
        print(f"  {name}: loop {loop.thresholds[name]!r}, bitmain {bitmain.thresholds[name]!r}")
    return loop, bitmain, len(layers) / len(visited)


def default_strategy(title: str, run: Run, options: TuneOptions) -> tuple[Figures, float]:
    """The default strategy from calibrated thresholds to decided ones, and the seconds to settle them."""
    before = calibrated(run)
    forwards, began = run.cost().int8_forwards, time.perf_counter()
    start = choose_start(run, options, before)
    chosen = time.perf_counter()
    tuned = search(run, options, start, searched_quantizers(options, start))
    decided, forwards = time.perf_counter(), run.cost().int8_forwards - forwards
    after = settle(run, start, tuned)
    settling = time.perf_counter() - decided
    nmse = held_out_nmse(run, before, start, after)
    figures = Figures(decided - began, forwards, scored(run), nmse[0], nmse[2], thresholds(tuned))
    print(
        f"{title}: {line(figures)}; {chosen - began:.1f} s of it to choose a start with NMSE {nmse[1]:.4g}, "
        f"then {settling:.1f} s to settle weights and biases",
        flush=True,
    )
    return figures, settling


def whole_command(network: str, on: Mapping[str, Any], effort: int) -> float:
    """Seconds of ``distq tune`` with Python and its workers started, and nothing held out to report."""
    with tempfile.TemporaryDirectory() as folder:
        own = tune_options(network, Path(folder))
        command = [sys.executable, "-m", "distq", "tune", own.model, "--data", own.data, "--quiet"]
        command += ["--preprocess", own.preprocess, "--samples", own.samples, "--holdout", 0]
        command += ["--tune-samples", own.tune_samples, "--effort", effort, "--out", own.out]
        command += [part for name, value in on.items() for part in (f"--{name}", value)]
        began = time.perf_counter()
        subprocess.run([str(part) for part in command], check=True, capture_output=True)
        return time.perf_counter() - began


def thresholds(form: Form) -> dict[str, float]:
    return {name: row.threshold for name, row in form.table.items()}


def scored(run: Run) -> int:
    return sum(note["scored"] for note in run.journal.notes("layer"))


def line(figures: Figures) -> str:
    return (
        f"{figures.scored} candidates, {figures.forwards:.0f} INT8 forwards, {figures.seconds:.1f} s, "
        f"held-out NMSE {figures.before:.4g} -> {figures.after:.4g}"
    )


def summary(repeats: Sequence[Repeat]) -> dict[str, str]:
    """The rows of a network's column."""

    def median(value: Callable[[Repeat], float]) -> float:
        return statistics.median(value(r) for r in repeats)

    def times(value: Callable[[Repeat], float]) -> str:
        return f"{median(value):.1f}x"

    def part(value: Callable[[Repeat], float]) -> str:
        return f"1/{median(lambda r: r.loop_forwards / value(r)):.0f}"

    one = repeats[0]
    how = " (extrapolated)" if one.scale > 1 else ""
    pairs = [(r.loop, r.bitmain) for r in repeats]
    same = all((a.thresholds, a.scored) == (b.thresholds, b.scored) for a, b in pairs)
    return {
        "serial loop": f"{median(lambda r: r.loop_seconds):.0f} s{how}",
        "candidates of the loop, of bitmain": f"{one.loop.scored}, {one.bitmain.scored}",
        "thresholds of bitmain": "the loop's" if same else "others",
        "bitmain": times(lambda r: r.loop.seconds / r.bitmain.seconds),
        "default, thresholds alone": times(lambda r: r.loop_seconds / r.plain.seconds),
        "default": times(lambda r: r.loop_seconds / r.full.seconds),
        "default, with settling": times(lambda r: r.loop_seconds / (r.full.seconds + r.settle_seconds)),
        "whole command": times(lambda r: r.loop_seconds / r.command_seconds),
        "INT8 forwards of the loop": f"{one.loop_forwards:.0f}{how}",
        "default, thresholds alone: forwards": part(lambda r: r.plain.forwards),
        "default: forwards": part(lambda r: r.full.forwards),
        "held-out NMSE, loop": f"{one.loop.before:.3g} -> {one.loop.after:.3g}",
        "held-out NMSE, default, thresholds alone": f"{one.plain.before:.3g} -> {one.plain.after:.3g}",
        "held-out NMSE, default": f"{one.full.before:.3g} -> {one.full.after:.3g}",
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--models", nargs="+", default=NETWORKS, help="names in configs/")
    parser.add_argument("--layers-limit", type=int, help="layers the loop visits, spread evenly; extrapolate")
    parser.add_argument("--repeats", type=int, default=1)
    parser.add_argument("--executor", choices=("ray", "local"), default="ray", help="where distq runs")
    parser.add_argument("--workers", type=int, default=2, help="on Ray; local runs one")
    parser.add_argument("--effort", type=int, default=3)
    given = parser.parse_args()
    on = {"executor": given.executor} | ({"workers": given.workers} if given.executor == "ray" else {})
    found: dict[str, list[Repeat]] = {network: [] for network in given.models}
    for _ in range(given.repeats):
        for network in given.models:
            found[network].append(run_repeat(network, given.layers_limit, on, given.effort))
    columns = {network: summary(repeats) for network, repeats in found.items()}
    lines = [["", *columns], ["---"] * (len(columns) + 1)]
    lines += [[row, *(column[row] for column in columns.values())] for row in next(iter(columns.values()))]
    print("\n" + "\n".join(f"| {' | '.join(cells)} |" for cells in lines))


if __name__ == "__main__":
    main()
