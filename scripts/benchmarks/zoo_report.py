"""The table of zoo.py, between its markers in docs/benchmarks.md."""

from pathlib import Path

DOCUMENT = Path(__file__).parents[2] / "docs" / "benchmarks.md"


def write_table(results): ...
