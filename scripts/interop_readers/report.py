"""The table of what readers made of a run: report.py WORK READER ..."""

from __future__ import annotations

import json
import sys
from datetime import UTC, datetime
from pathlib import Path


def main(work: Path, readers: list[str]) -> None:
    """Print Markdown."""
    job = json.loads((work / "job.json").read_text())
    today = datetime.now(UTC).date()
    print(f"\n{Path(job['model']).name}, {today}; distq's INT8 model: {job['sqnr']:.2f} dB\n")
    print("| format | reader | taken | tensors | largest difference of a scale | dB, distq's | dB, its own |")
    print("|---|---|---|---|---|---|---|")
    for reader in readers:
        lines = (work / f"{reader}.log").read_text().strip().split("\n")
        try:
            rows = json.loads(lines[-1])
        except ValueError:
            rows = [{"format": "", "reader": reader, "taken": f"failed: {lines[-1][:80]}"}]
        for row in rows:
            difference = f"{row['difference']:.1g}" if "difference" in row else ""
            decibels = [f"{row[key]:.2f}" if key in row else "" for key in ("sqnr", "own")]
            cells = (
                row["format"],
                row["reader"],
                row["taken"],
                row.get("tensors", ""),
                difference,
                *decibels,
            )
            print("| " + " | ".join(map(str, cells)) + " |")


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2:])
