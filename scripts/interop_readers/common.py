"""What the readers share; it runs in each tool's own environment and needs numpy alone."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np

Rows = list[dict[str, object]]


class Case:
    """What ``prepare.py`` made: a network, its samples, the float outputs, and the table in every format."""

    def __init__(self, work: Path) -> None:
        self.work = work
        self.model = json.loads((work / "job.json").read_text())["model"]
        self.rows = json.loads((work / "run" / "thresholds.json").read_text())["tensors"]
        self.calibration = dict(np.load(work / "calibration.npz"))
        self.heldout = dict(np.load(work / "heldout.npz"))
        self.expected = list(np.load(work / "expected.npz").values())

    def table(self, name: str) -> Path:
        """The table in a format."""
        return next((self.work / "tables").glob(f"{name}.*"))

    def samples(self, inputs: dict[str, np.ndarray]) -> list[dict[str, np.ndarray]]:
        """One sample after the other."""
        count = len(next(iter(inputs.values())))
        return [{name: values[i : i + 1] for name, values in inputs.items()} for i in range(count)]

    def sqnr(self, run: Callable[[dict[str, np.ndarray]], list[np.ndarray]]) -> float:
        """Decibels of a simulator against float, over the held-out samples."""
        found = [run(sample) for sample in self.samples(self.heldout)]
        ratios = []
        for position, wanted in enumerate(self.expected):
            ours = np.concatenate([np.asarray(row[position]).reshape(wanted[:1].shape) for row in found])
            noise = np.square(ours.astype(np.float64) - wanted).sum()
            ratios.append(noise / np.square(wanted.astype(np.float64)).sum())
        return float(-10 * np.log10(np.mean(ratios)))

    def difference(self, scales: dict[str, float], symmetric: bool = False) -> tuple[float, int]:
        """The largest relative difference of scales from the table's, and how many were compared."""
        worst, compared = 0.0, 0
        for name, scale in scales.items():
            if name in self.rows:
                row = self.rows[name]
                own = max(-row["min"], row["max"]) / 127 if symmetric else row["scale"]
                worst, compared = max(worst, abs(scale / own - 1)), compared + 1
        return worst, compared


def row(form: str, reader: str, taken: str, **found: object) -> dict[str, object]:
    """A line of the table: ``difference``, ``sqnr`` of the tool with distq's table, ``own`` with its own."""
    return {"format": form, "reader": reader, "taken": taken, **found}


def serve(reader: Callable[[Case], Rows]) -> None:
    """Run a reader on the folder named on the command line and print its rows as JSON in the last line."""
    rows = reader(Case(Path(sys.argv[1]).resolve()))
    sys.stdout.write("\n" + json.dumps(rows) + "\n")
