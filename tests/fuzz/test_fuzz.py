"""Damaged files end in an error of distq: no crash, no hang, no other exception.

``scripts/fuzz COUNT`` tries more.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from fuzz_cases import CASES

COUNTS = {
    "onnx": 100,
    "caffe": 200,
    "lmdb": 200,
    "jpeg": 300,
    "journal": 60,
    "yaml": 200,
    "exchange": 400,
}
FEW = 60  # of the others


@pytest.fixture(scope="module")
def outcomes(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What came of each format, tried in a process of its own that may die."""
    more = request.config.getoption("--fuzz")
    counts = {kind: more or COUNTS.get(kind, FEW) for kind in CASES}
    arguments = [str(part) for pair in counts.items() for part in pair]
    child = subprocess.run(  # noqa: S603  # our own interpreter
        [
            sys.executable,
            str(Path(__file__).parent / "fuzz_cases.py"),
            str(tmp_path_factory.mktemp("f")),
            *arguments,
        ],
        capture_output=True,
        check=False,
        timeout=120 + 0.5 * sum(counts.values()),
    )
    lines = child.stdout.decode().splitlines()
    done = [line.split(" ", 2)[1:] for line in lines if line.startswith("done ")]
    found = {kind: {**json.loads(summary), "count": counts[kind]} for kind, summary in done}
    last = lines[-1] if lines else child.stderr.decode()[-500:]
    return {kind: found.get(kind, {"crash": f"exit code {child.returncode} after: {last}"}) for kind in CASES}


@pytest.mark.parametrize("kind", CASES)
def test_a_damaged_file_is_taken_or_refused_in_one_line(outcomes: dict[str, Any], kind: str) -> None:
    outcome = outcomes[kind]
    assert "crash" not in outcome, outcome
    assert outcome["wrong"] == []
    assert outcome["taken"] + outcome["refused"] == outcome["count"]
    assert outcome["refused"] > 0, "the damage is seen"
    assert outcome["taken"] > 0, "and some of it harms nothing"
