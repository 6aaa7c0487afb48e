"""What each ``--effort`` takes and gains on the networks of configs/, as tables in docs/search.md.

    .venv/bin/python scripts/benchmarks/efforts.py
    .venv/bin/python scripts/benchmarks/efforts.py --models resnet20_cifar10 --efforts 1 3 --no-write

Each cell is one ``distq tune`` of the job file as it stands, in this process, calibration included.
"""

from __future__ import annotations

import argparse
import datetime as dt
import os
import platform
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import onnxruntime
from networks import BY_NAME

from distq.config import TuneOptions
from distq.engine.progress import SilentReporter
from distq.jobfile import load_job
from distq.jobs.tune import tune
from distq.run.results import Accuracy, Comparison, RunResult
from distq.search.default import EFFORTS

ROOT = Path(__file__).resolve().parents[2]
DOCUMENT = ROOT / "docs" / "search.md"
BEGIN, END = "<!-- efforts:begin -->", "<!-- efforts:end -->"
NAMES = tuple(BY_NAME)


@dataclass(frozen=True)
class Run:
    """One network at one effort."""

    network: str
    effort: int
    result: RunResult

    @property
    def held_out(self) -> Accuracy:
        """Of the tuned model."""
        return tuned(self.result.holdout)

    @property
    def tuning(self) -> Accuracy:
        """Of the tuned model, on the images that decided."""
        return tuned(self.result.tuning)


def tuned(comparison: Comparison | None) -> Accuracy:
    """The figures behind the search.

    Raises:
        SystemExit: there are none.
    """
    if comparison is None or comparison.after is None:
        raise SystemExit("a job file without held-out samples cannot be compared")
    return comparison.after


def run_one(network: str, effort: int, target: str) -> Run:
    """Tune a network at an effort, in a folder of its own."""
    with tempfile.TemporaryDirectory() as folder:
        given = {"out": Path(folder) / "run", "effort": effort, "target": target, "executor": "local"}
        options = load_job(ROOT / "configs" / f"{network}.yaml", given).options
        if not isinstance(options, TuneOptions):
            raise SystemExit(f"configs/{network}.yaml is no tuning")
        run = Run(network, effort, tune(options, SilentReporter()))
    cost = run.result.cost
    print(
        f"{network}, effort {effort}: {run.held_out.sqnr_db:.2f} dB held out, {run.tuning.sqnr_db:.2f} dB on "
        f"tuning samples, {cost.int8_forwards:.0f} INT8 forwards, {cost.seconds:.0f} s",
        flush=True,
    )
    return run


def report(runs: Sequence[Run], target: str) -> str:
    """The tables and under what they were measured."""
    today = dt.datetime.now(dt.UTC).date().isoformat()
    machine, runtime = (
        f"{os.cpu_count()} {platform.machine()} cores",
        f"onnxruntime {onnxruntime.__version__}",
    )
    return "\n\n".join(
        (
            f"`scripts/benchmarks/efforts.py --target {target}`, {today}, {machine}, {runtime}; one process.",
            table("SQNR on held-out samples, dB", runs, lambda run: f"{run.held_out.sqnr_db:.2f}"),
            table("SQNR on the tuning samples, dB", runs, lambda run: f"{run.tuning.sqnr_db:.2f}"),
            table("seconds of the job", runs, lambda run: f"{run.result.cost.seconds:.0f}"),
            table("its INT8 forwards", runs, lambda run: f"{run.result.cost.int8_forwards:.0f}"),
        )
    )


def table(title: str, runs: Sequence[Run], cell: Callable[[Run], str]) -> str:
    """A row a network, a column an effort."""
    efforts = sorted({run.effort for run in runs})
    cells = {(run.network, run.effort): cell(run) for run in runs}
    rows = [[title, *(f"effort {effort}" for effort in efforts)], ["---"] * (len(efforts) + 1)]
    networks = dict.fromkeys(run.network for run in runs)
    rows += [[network, *(cells[network, effort] for effort in efforts)] for network in networks]
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


def write(text: str) -> None:
    """Put the tables between the markers of the document."""
    document = DOCUMENT.read_text(encoding="utf-8")
    before, rest = document.split(BEGIN)
    after = rest.split(END)[1]
    DOCUMENT.write_text(f"{before}{BEGIN}\n{text}\n{END}{after}", encoding="utf-8")


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--models", nargs="+", default=NAMES, help="names in configs/")
    parser.add_argument("--efforts", nargs="+", type=int, default=sorted(EFFORTS))
    parser.add_argument("--target", choices=("ort", "openvino", "tensorrt"), default="ort")
    parser.add_argument("--no-write", action="store_true", help="print the tables, leave the document alone")
    given = parser.parse_args()
    runs = [run_one(network, effort, given.target) for network in given.models for effort in given.efforts]
    text = report(runs, given.target)
    print(f"\n{text}")
    if not given.no_write:
        write(text)


if __name__ == "__main__":
    main()
