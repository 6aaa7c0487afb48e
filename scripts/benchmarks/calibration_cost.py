"""What calibration costs: against a plain float pass, against NNCF, with more images and with two workers.

    .venv/bin/python scripts/benchmarks/calibration_cost.py --data DATA
    .venv/bin/python scripts/benchmarks/calibration_cost.py --data DATA --models mobilenet --parts one,nncf

DATA holds the networks and photos that networks.py names; WORK the arrays made from them and the peers'
virtual environment, as for peers.py. Every figure is of a process of its own. A full call writes the table
between the markers of docs/benchmarks.md; one for some networks or parts prints it.
"""

from __future__ import annotations

import argparse
import datetime as dt
import json
import platform
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import onnxruntime
import ray
from networks import BY_NAME
from peers import DOCUMENT, HERE, REQUIREMENTS, chosen, prepare
from peers_process import make_environment
from peers_report import machine

BEGIN, END = "<!-- calibration:begin -->", "<!-- calibration:end -->"
PARTS = ("one", "nncf", "memory", "workers")
FEW, MANY = 64, 1024
"""Images whose peak memory is compared; they are the first photos, over and over."""

ROWS = {
    "plain float pass, ms an image": (("one", "plain_ms"), "{:.1f}"),
    "distq's observation, ms an image": (("one", "observed_ms"), "{:.1f}"),
    "ratio of the two": (("one", "ratio"), "{:.2f}"),
    "tensors observed": (("one", "tensors"), "{:.0f}"),
    "seconds for KL thresholds of 60 tensors": (("one", "thresholds_s"), "{:.2f}"),
    "NNCF's statistics, ms an image": (("nncf", "ms"), "{:.1f}"),
    "peak MiB of that process": (("nncf", "peak_mib"), "{:.0f}"),
    "peak MiB of distq's on the same arrays": (("one", "peak_mib"), "{:.0f}"),
    f"distq's peak MiB at {FEW} photos": (("memory", "few_mib"), "{:.0f}"),
    f"distq's peak MiB at {MANY} photos": (("memory", "many_mib"), "{:.0f}"),
    "two workers, times the throughput of one": (("workers", "ratio"), "{:.2f}"),
}

EXPLANATION = f"""\
The plain float pass is ONNX Runtime with its default options, the observation distq's of all quantized
tensors with target `ort`, merged; both run in turns in one process on the same decoded arrays, on one
core and with one thread. NNCF's row is what its ONNX backend spends in collecting statistics for
`quantize` (preset performance, fast bias correction) on the same arrays, on one core too. Sessions and
workers are opened before the clock starts, and on one core it counts the process's own time. Thresholds
are by KL with 2048 bins. Peak memory is of whole processes; with {FEW} and {MANY} photos distq decodes
them itself, and the second set repeats the first."""


def run(python: Path | str, script: str, *arguments: object) -> dict[str, float]:
    """The JSON object that a script prints last."""
    command = [str(python), str(HERE / script), *map(str, arguments)]
    made = subprocess.run(command, capture_output=True, text=True, check=False)
    if made.returncode:
        sys.exit(f"{' '.join(command)}\n{made.stderr.strip()}")
    found: dict[str, float] = json.loads(made.stdout.strip().splitlines()[-1])
    return found


def measure(name: str, part: str, asked: argparse.Namespace) -> dict[str, float]:
    """One part of one network's figures; none where it has no photos to repeat."""
    folder, model = asked.work / "arrays" / name, asked.data / "models" / f"{name}.onnx"
    arrays = folder / "calibration.npz"
    if part == "nncf":
        peers = make_environment(asked.work, REQUIREMENTS)
        return run(peers, "calibration_nncf.py", folder / "folded.onnx", arrays)
    if part != "memory":
        return run(sys.executable, "calibration_run.py", part, model, arrays, asked.repeats)
    if not BY_NAME[name].steps:
        return {}
    peaks = []
    for count in (FEW, MANY):
        photos = repeated(asked.data / BY_NAME[name].calibration.source, count, folder / f"{count}.txt")
        preprocess = folder / "preprocess.yaml"
        peaks.append(run(sys.executable, "calibration_run.py", part, model, photos, preprocess)["peak_mib"])
    return {"few_mib": peaks[0], "many_mib": peaks[1]}


def repeated(source: Path, count: int, path: Path) -> Path:
    """A list of ``count`` lines: the first of a list over and over, with absolute paths."""
    lines = [line for line in source.read_text(encoding="utf-8").splitlines() if line and line[0] != "#"]
    path.write_text("".join(f"{source.parent / lines[i % FEW]}\n" for i in range(count)), encoding="utf-8")
    return path


def table(found: dict[str, dict[str, dict[str, float]]]) -> str:
    """A column for each network."""
    lines = [["", *found], ["---"] * (len(found) + 1)]
    for title, ((part, figure), form) in ROWS.items():
        cells = [parts.get(part, {}).get(figure) for parts in found.values()]
        lines.append([title, *("-" if cell is None else form.format(cell) for cell in cells)])
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)


def report(found: dict[str, dict[str, dict[str, float]]], arguments: Sequence[str], repeats: int) -> str:
    """The whole section."""
    command = " ".join(("scripts/benchmarks/calibration_cost.py", *arguments))
    packages = ", ".join(f"{module.__name__} {module.__version__}" for module in (onnxruntime, np, ray))
    today = dt.datetime.now().astimezone().date()
    how = (
        f"`.venv/bin/python {command}`, {today}, {machine()}; {packages}, "
        f"Python {platform.python_version()}; medians of {repeats} interleaved repeats."
    )
    return "\n\n".join(("## What calibration costs", how, EXPLANATION, table(found)))


def write_section(document: Path, text: str) -> None:
    """Put the section between its markers; a document without them gets them at its end."""
    old = document.read_text(encoding="utf-8")
    if BEGIN not in old:
        old = f"{old.rstrip()}\n\n{BEGIN}\n{END}\n"
    before, rest = old.split(BEGIN)
    document.write_text(f"{before}{BEGIN}\n{text}\n{END}{rest.split(END)[1]}", encoding="utf-8")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="folder of the networks and photos")
    parser.add_argument("--work", type=Path, default=Path(".peers"), help="venv and arrays (.peers)")
    parser.add_argument("--models", help="names, or how they start, separated by commas (all)")
    parser.add_argument("--parts", help=f"some of {','.join(PARTS)} (all)")
    parser.add_argument("--repeats", type=int, default=5, help="of what is measured in turns (5)")
    asked = parser.parse_args()
    asked.data, asked.work = asked.data.resolve(), asked.work.resolve()
    found: dict[str, dict[str, dict[str, float]]] = {}
    for name in chosen(asked.models, list(BY_NAME), "network"):
        prepare(asked.data, asked.work / "arrays" / name, BY_NAME[name], None)
        found[name] = {}
        for part in chosen(asked.parts, PARTS, "part"):
            found[name][part] = measure(name, part, asked)
            print(f"{name} {part}: {json.dumps(found[name][part])}", flush=True)
    print(table(found))
    if asked.models is None and asked.parts is None:
        write_section(DOCUMENT, report(found, ("--data", "DATA"), asked.repeats))


if __name__ == "__main__":
    main()
