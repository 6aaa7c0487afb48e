"""What a command line that cannot be run is told to do instead."""

from __future__ import annotations

import numpy as np
import pytest

from distq.cli import app as cli


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    """An empty folder, but for a file for each kind of thing."""
    monkeypatch.chdir(tmp_path)
    np.save("x.npy", np.zeros((4, 3), np.float32))
    for name in ("net.onnx", "net.prototxt", "net.caffemodel"):
        (tmp_path / name).write_bytes(b'name: "net"')
    return tmp_path


@pytest.mark.parametrize(
    ("line", "remedy"),
    [
        ("tune", "distq tune --help shows what it takes"),
        ("tune m.onnx", "distq tune --help"),
        ("tune m.onnx --out r --otu r", "distq tune --help"),
        ("tune m.onnx --out r --samples many", "distq tune --help"),
        ("dataset", "distq dataset --help"),
        ("dataset build a", "distq dataset build --help"),
        ("doctor now", "distq doctor --help"),
        ("tuen", "distq --help"),
        ("calibrate m.onnx --out r --input-shape x=1,a", "x=1,a: input should be NAME=1,3,640,640"),
        (
            "calibrate m.onnx --out r --input-shape x=1 --input-shape y=0",
            "x=1 y=0: input should be NAME=1,3,",
        ),
        ("convert net.onnx --out table", "give the RUN that distq calibrate made"),
        ("convert net.onnx --to csv --out table", "give the RUN that distq calibrate made"),
        ("convert net.prototxt --to csv --out table", "give the RUN/thresholds.json"),
        ("convert RUN --out table", "it is one of distq, csv, tpu-mlir, qtable,"),
        ("convert net.prototxt --out table", "give a file NAME.onnx"),
        ("convert x.npy --to csv --out no/table", "make it first"),
        ("dataset info none.yaml", "give a .yaml, an image_params .json or a .py"),
        ("dataset info none.py", "give a Python file"),
        ("dataset build . none.txt db", "give a text file"),
        ("run none.yaml", "give a YAML file"),
        (
            "calibrate net.onnx --out r --data x.npy --layer-config no.yaml",
            "give a YAML file or a Caffe prototxt",
        ),
    ],
)
def test_every_wrong_use_is_one_line_with_its_remedy(line, remedy, folder, capsys):
    before = sorted(folder.iterdir())
    assert cli.invoke([*line.split(), *(["--executor", "local"] if " --data" in line else [])]) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.count("\n") == 1
    assert remedy in captured.err
    assert sorted(folder.iterdir()) == before
