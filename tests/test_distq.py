"""The Python interface."""

from __future__ import annotations

import sys
from pathlib import Path
from types import ModuleType

import cv2
import numpy as np
import pytest

import distq
from distq.config import CalibrateOptions, EvaluateOptions, TuneOptions
from distq.engine.progress import SilentReporter


@pytest.fixture
def calls(monkeypatch):
    """Jobs replaced by functions that note what they are called with."""
    seen = []
    for name in ("calibrate", "tune", "evaluate"):
        module = ModuleType(f"distq.jobs.{name}")
        setattr(module, name, lambda options, reporter, **_: seen.append((options, reporter)))
        monkeypatch.setitem(sys.modules, module.__name__, module)
    return seen


def test_jobs_take_the_options_of_the_commands(calls):
    distq.calibrate(model="m.onnx", data="photos", out=Path("run"), bins=4096)
    distq.tune(model="m.onnx", data="photos", out="run", layers=["a", "b"])
    distq.evaluate("m.int8.onnx", data="photos", against="m.onnx")
    assert [options for options, _ in calls] == [
        CalibrateOptions(model=Path("m.onnx"), data=Path("photos"), out=Path("run"), bins=4096),
        TuneOptions(model=Path("m.onnx"), data=Path("photos"), out=Path("run"), layers=("a", "b")),
        EvaluateOptions(candidate=Path("m.int8.onnx"), data=Path("photos"), against=Path("m.onnx")),
    ]


def test_it_is_silent_unless_a_reporter_is_given(calls, capsys):
    reporter = SilentReporter()
    distq.tune(model="m.onnx", out="run", reporter=reporter)
    distq.tune(model="m.onnx", out="run")
    assert calls[0][1] is reporter
    assert isinstance(calls[1][1], SilentReporter)
    assert capsys.readouterr() == ("", "")


def test_a_bad_option_is_a_usage_error_of_one_line(calls):
    with pytest.raises(distq.UsageError, match=r"^samples -3: input should be"):
        distq.tune(model="m.onnx", out="run", samples=-3)
    with pytest.raises(distq.UsageError, match=r"unknown option sampels: did you mean samples\?"):
        distq.calibrate(model="m.onnx", out="run", sampels=3)
    assert calls == []


def test_a_database_is_built_and_described(tmp_path):
    cv2.imwrite(str(tmp_path / "a.png"), np.zeros((3, 5, 3), np.uint8))
    (tmp_path / "list.txt").write_text("a.png 7\n")
    built = distq.build_dataset(tmp_path, tmp_path / "list.txt", tmp_path / "db", gray=True)
    assert built.written == 1
    found = distq.dataset_info(built.database).source
    assert (found.kind, found.shapes, found.labels) == ("lmdb", (("3x5x1",),), True)
    with pytest.raises(distq.UsageError, match="unknown option grey: did you mean gray"):
        distq.build_dataset(tmp_path, tmp_path / "list.txt", tmp_path / "other", grey=True)


def test_what_is_exported_exists():
    assert all(hasattr(distq, name) for name in distq.__all__)
