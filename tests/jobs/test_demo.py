"""``distq demo``: the whole job on the embedded digits, and where it refuses to write."""

from __future__ import annotations

import json
from pathlib import Path

import onnxruntime
import pytest

from distq.data.info import describe_source
from distq.engine.progress import SilentReporter
from distq.errors import UsageError
from distq.jobs.demo import CALIBRATION, HELD_OUT, DemoResult, run_demo
from distq.jobs.tune import tune


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> DemoResult:
    """The demo in this process."""
    return run_demo(
        tmp_path_factory.mktemp("demo") / "new" / "demo", tune, SilentReporter(), executor="local"
    )


def test_it_measures_float_calibrated_and_tuned_on_the_held_out_digits(demo: DemoResult) -> None:
    held_out = demo.run.holdout
    assert held_out is not None
    assert held_out.float is not None
    assert held_out.after is not None
    assert held_out.images == HELD_OUT
    assert held_out.float.top1 > 0.97
    assert held_out.before.sqnr_db > 20
    assert held_out.after.top1 is not None
    assert held_out.after.top1 > held_out.float.top1 - 0.02


def test_tuning_makes_the_held_out_digits_better(demo: DemoResult) -> None:
    held_out = demo.run.holdout
    assert held_out is not None
    assert held_out.after is not None
    assert held_out.after.nmse < held_out.before.nmse


def test_every_file_it_names_is_there_and_the_model_loads(demo: DemoResult) -> None:
    assert all(path.exists() for path in demo.files)
    assert len(set(demo.files)) == len(demo.files)
    model = next(path for path in demo.files if path.name == "model.int8.onnx")
    session = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])
    assert [output.name for output in session.get_outputs()] == ["logits"]


def test_the_lmdb_holds_every_digit(demo: DemoResult) -> None:
    assert describe_source(demo.out / "digits_lmdb").count == CALIBRATION + HELD_OUT


def test_its_result_can_be_printed_as_json(demo: DemoResult) -> None:
    assert json.loads(demo.model_dump_json())["run"]["holdout"]["images"] == HELD_OUT


def test_a_folder_that_exists_is_refused_and_left_alone(tmp_path: Path) -> None:
    kept = tmp_path / "kept.txt"
    kept.write_text("mine")
    with pytest.raises(UsageError, match=r"exists: remove it, or choose another with distq demo --out"):
        run_demo(tmp_path, tune, SilentReporter(), executor="local")
    assert [path.name for path in tmp_path.iterdir()] == ["kept.txt"]


def test_a_folder_that_cannot_be_made_is_an_input_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(UsageError, match=r"cannot be made: Not a directory: choose another with --out"):
        run_demo(tmp_path / "file" / "demo", tune, SilentReporter(), executor="local")
