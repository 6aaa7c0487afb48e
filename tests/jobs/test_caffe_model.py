"""Caffe networks as models of every command, from the prototxt to what a run leaves."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from caffe_cases import COMPARED
from caffe_networks import Case, layer, numbers

import distq
from distq.cli.app import invoke

NETWORK = COMPARED["in place"]
LOCAL = ("--executor", "local", "--quiet")


@pytest.fixture
def net(tmp_path: Path) -> Path:
    """A prototxt with its weights beside it, and samples in x.npy."""
    np.save(tmp_path / "x.npy", numbers((12, 4, 7, 6), 3))
    return NETWORK.save(tmp_path)


def _calibrate(net: Path, *more: str) -> int:
    folder = net.parent
    data, out = str(folder / "x.npy"), str(folder / "run")
    return invoke(["calibrate", str(net), "--data", data, "--out", out, "--bins", "256", *LOCAL, *more])


def test_a_prototxt_is_calibrated_and_its_blobs_name_the_thresholds(net: Path) -> None:
    assert _calibrate(net) == 0
    run = net.parent / "run"
    assert set(json.loads((run / "thresholds.json").read_text())["tensors"]) == {"data", "c"}
    session = onnxruntime.InferenceSession(run / "model.int8.onnx")
    samples = np.load(net.parent / "x.npy")
    (exact,) = onnxruntime.InferenceSession(_converted(net)).run(None, {"data": samples})
    (found,) = session.run(["p"], {"data": samples})
    assert np.square(found - exact).sum() < 1e-3 * np.square(exact).sum()


def test_thresholds_are_measured_and_told_apart_against_the_prototxt(
    net: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert _calibrate(net) == 0
    run, data = net.parent / "run", str(net.parent / "x.npy")
    model, table = str(run / "model.int8.onnx"), str(run / "thresholds.json")
    json_out = ("--executor", "local", "--json")
    capsys.readouterr()
    assert invoke(["eval", model, "--against", str(net), "--data", data, *json_out]) == 0
    measured = json.loads(capsys.readouterr().out)["candidate"]["sqnr_db"]
    assert invoke(["diff", str(net), "--table", table, "--data", data, *json_out]) == 0
    assert json.loads(capsys.readouterr().out)["network"]["sqnr_db"] == pytest.approx(measured, abs=0.01)


def test_weights_may_lie_elsewhere_and_belong_to_the_runs_identity(
    net: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    elsewhere = net.parent / "trained.weights"
    net.with_suffix(".caffemodel").rename(elsewhere)
    assert _calibrate(net) == 2
    assert "net.caffemodel is missing: give --weights" in capsys.readouterr().err
    assert _calibrate(net, "--weights", str(elsewhere)) == 0
    moved = elsewhere.rename(net.parent / "moved.weights")
    assert _calibrate(net, "--weights", str(moved), "--resume") == 0
    moved.write_bytes(moved.read_bytes() + b"\x0a\x01x")
    assert _calibrate(net, "--weights", str(moved), "--resume") == 2
    assert "model" in capsys.readouterr().err


def test_python_and_job_files_take_weights(net: Path) -> None:
    folder = net.parent
    weights = net.with_suffix(".caffemodel").rename(folder / "w.caffemodel")
    given = {"data": folder / "x.npy", "executor": "local", "bins": 256}
    distq.calibrate(model=net, weights=weights, out=folder / "python", **given)
    job = {"command": "calibrate", "model": net.name, "weights": "w.caffemodel", "out": "job", "bins": 256}
    (folder / "job.yaml").write_text(json.dumps({**job, "data": "x.npy", "executor": "local"}))
    assert invoke(["run", str(folder / "job.yaml"), "--quiet"]) == 0
    tables = [(folder / name / "thresholds.json").read_bytes() for name in ("python", "job")]
    assert tables[0] == tables[1]


@pytest.mark.parametrize(
    ("model", "weights", "reason"),
    [
        ("net.caffemodel", None, "give the .prototxt as the model"),
        ("net.onnx", "net.caffemodel", "--weights is for a Caffe .prototxt"),
        ("net.prototxt", "net.prototxt", "no whole caffemodel"),
    ],
)
def test_a_wrong_file_is_named_with_the_remedy(
    net: Path, model: str, weights: str | None, reason: str, capsys: pytest.CaptureFixture[str]
) -> None:
    _converted(net)
    extra = () if weights is None else ("--weights", str(net.parent / weights))
    assert _calibrate(net.parent / model, *extra) == 2
    error = capsys.readouterr().err
    assert reason in error
    assert error.count("\n") == 1


def test_an_unknown_layer_is_named_with_its_line(net: Path, capsys: pytest.CaptureFixture[str]) -> None:
    net.write_text(net.read_text() + layer("RegionLoss9", "odd", "p"))
    assert _calibrate(net) == 2
    assert "line 10: odd (RegionLoss9)" in capsys.readouterr().err


def test_detections_are_post_processing_in_float(tmp_path: Path) -> None:
    net = COMPARED["detection output"].save(tmp_path)
    np.savez(tmp_path / "x.npz", data=numbers((6, 4, 5, 6), 3), image=numbers((6, 3, 40, 48), 4))
    command = ["calibrate", str(net), "--data", str(tmp_path / "x.npz"), "--out", str(tmp_path / "run")]
    assert invoke([*command, *LOCAL]) == 0
    rows = set(json.loads((tmp_path / "run" / "thresholds.json").read_text())["tensors"])
    assert rows == {"data", "half", "a_loc", "a_conf", "b_loc", "b_conf"}


def test_convert_writes_the_model_and_says_what_it_passed_over(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    case = Case(layer("ReLU", relu_param="shade: 3"), blobs={"spare": ((2,),)})
    out = tmp_path / "net.onnx"
    assert invoke(["convert", str(case.save(tmp_path)), "--out", str(out)]) == 0
    printed = capsys.readouterr()
    assert "input data (batch x 4 x 7 x 6)" in printed.out
    assert "ReLUParameter.shade" in printed.err
    assert "spare" in printed.err
    onnx.checker.check_model(onnx.load(out), full_check=True)
    assert distq.convert_network(tmp_path / "net.prototxt", out).inputs == {"data": ("batch", 4, 7, 6)}
    assert invoke(["convert", str(tmp_path / "net.prototxt"), "--to", "onnx", "--out", str(out)]) == 0


def test_convert_refuses_weights_alone_and_replaces_nothing_of_the_user(
    net: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    weights, mine = net.with_suffix(".caffemodel"), net.parent / "mine.onnx"
    mine.write_bytes(b"mine")
    for source, out, message in (
        (weights, net.parent / "n.onnx", "has weights alone: give the .prototxt"),
        (net, mine, "exists and was not made by distq convert"),
        (net, weights, "give a file NAME.onnx"),
        (net.parent, net.parent / "n.onnx --to csv", "is not a run of distq: give a run or a table"),
    ):
        given, *more = str(out).split()
        assert invoke(["convert", str(source), "--out", given, *more]) == 2
        assert message in capsys.readouterr().err
    assert mine.read_bytes() == b"mine"


def _converted(net: Path) -> Path:
    out = net.with_suffix(".onnx")
    assert invoke(["convert", str(net), "--out", str(out), "--quiet"]) == 0
    return out
