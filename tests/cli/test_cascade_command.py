"""``distq cascade``."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from cascade_helpers import pictures, write_cascade
from job_helpers import bits

import distq
from distq.cli.app import invoke

HELPERS = Path(__file__).parents[1] / "helpers"
PROGRAM = f"""
import sys
sys.path.insert(0, {str(HELPERS)!r})
from cascade_helpers import FindAndRead
from pathlib import Path

here = Path(__file__).parent
faces = FindAndRead({{"finder": here / "finder.onnx", "reader": here / "reader.onnx"}})
"""


@pytest.fixture(name="place")
def folder(tmp_path, monkeypatch):
    write_cascade(tmp_path)
    np.save(tmp_path / "pictures.npy", pictures(16))
    (tmp_path / "faces.py").write_text(PROGRAM)
    monkeypatch.chdir(tmp_path)
    return tmp_path


LINE = ["--data", "pictures.npy", "--executor", "local", "--samples", "12", "--holdout", "4"]


def test_a_python_file_says_what_runs(place, capsys):
    assert invoke(["cascade", "faces.py", *LINE, "--calibrate-only", "--out", "run"]) == 0
    printed = capsys.readouterr().out
    assert printed.index("finder") < printed.index("reader")
    assert "Written: run/{finder,reader}" in printed
    from cascade_helpers import FindAndRead  # noqa: PLC0415  # after the file has put it on the path

    same = FindAndRead({"finder": "finder.onnx", "reader": "reader.onnx"})
    same.calibrate(pictures(16), out=place / "python", executor="local", samples=12, holdout=4)
    for name in ("finder", "reader"):
        assert bits(place / "run" / name) == bits(place / "python" / name)


def test_what_is_missing_is_said(place, capsys):
    assert invoke(["cascade", "faces.py", *LINE]) == 2
    assert "--out is missing" in capsys.readouterr().err
    (place / "none.py").write_text("x = 1\n")
    assert invoke(["cascade", "none.py", *LINE, "--out", "run"]) == 2
    assert "none.py has no cascades at its top level: write one" in capsys.readouterr().err
    assert invoke(["cascade", "gone.py", *LINE, "--out", "run"]) == 2
    assert "gone.py is no Python file" in capsys.readouterr().err
    assert not (place / "run").exists()
    assert distq.Cascade.__name__ == "Cascade"


def test_a_mistake_in_forward_is_named_by_its_line_and_leaves_nothing(place, capsys):
    mistake = "\nfaces.forward = lambda picture: 1 / 0  # in the user's file\n"
    (place / "wrong.py").write_text(PROGRAM + mistake)
    assert invoke(["cascade", "wrong.py", *LINE, "--out", "run"]) == 2
    line = len((PROGRAM + mistake).splitlines())
    assert (
        f"wrong.py, line {line}: ZeroDivisionError: division by zero; mend forward" in capsys.readouterr().err
    )
    assert not (place / "run").exists()
    assert invoke(["cascade", "faces.py", *LINE, "--calibrate-only", "--out", "run"]) == 0


def test_data_without_items_and_a_path_that_is_taken_are_said(place, capsys):
    (place / "empty").mkdir()
    assert invoke(["cascade", "faces.py", *LINE, "--data", "empty", "--out", "run"]) == 2
    assert "data empty is empty: give at least one item" in capsys.readouterr().err
    assert invoke(["cascade", "faces.py", *LINE, "--out", "faces.py"]) == 2
    assert "faces.py exists and is no folder: give another out" in capsys.readouterr().err


def test_a_mistake_in_forward_on_the_workers_is_named_as_well(place, capsys):
    mistake = "def wrong(picture):\n    return picture.nothing\n\n\nfaces.forward = wrong\n"
    (place / "there.py").write_text(PROGRAM + mistake)
    assert invoke(["cascade", "there.py", *LINE, "--forward-on-workers", "--out", "run"]) == 2
    line = len(PROGRAM.splitlines()) + 2
    printed = capsys.readouterr().err
    assert f"there.py, line {line}: AttributeError: " in printed
    assert "item 0: " in printed
    assert not (place / "run").exists()
