"""What ``distq dataset info`` understood of sources, preprocessing files and data layers."""

from __future__ import annotations

import json
from io import StringIO

import numpy as np
import pytest
import yaml
from job_helpers import write_photos
from rich.console import Console

from distq.cli.tables import print_data_info
from distq.data.preprocess import load_preprocessing
from distq.errors import DataError
from distq.jobs.dataset_info import dataset_info

LAYER = (
    'layer { name: "data" type: "ImageData" top: "data" image_data_param { source: "list.txt" '
    'root_folder: "photos/" } transform_param { mean_file: "mean.npy" scale: 0.5 } }'
)


@pytest.fixture
def folder(tmp_path):
    write_photos(tmp_path / "photos", 2)
    (tmp_path / "list.txt").write_text("0.png 3\n1.png 4\n")
    np.save(tmp_path / "mean.npy", np.ones((3, 8, 8), np.float32))
    (tmp_path / "net.prototxt").write_text(LAYER)
    return tmp_path


def printed(info):
    console = Console(file=StringIO(), width=40)
    print_data_info(info, console)
    return console.file.getvalue()


def test_a_prototxt_is_printed_as_a_preprocessing_file(folder):
    text = printed(dataset_info(folder / "net.prototxt"))
    (folder / "elsewhere").mkdir()
    (folder / "elsewhere" / "p.yaml").write_text(text)
    again = load_preprocessing(folder / "elsewhere" / "p.yaml")
    assert again.as_file()["inputs"]["*"]["steps"] == [
        {"color": "bgr"},
        {"mean_file": str(folder / "mean.npy")},
        {"scale": 0.5},
    ]
    assert f"# {folder / 'list.txt'}: list, 2 samples with labels" in text
    assert "#   0.png  8x8x3\n" in text


def test_a_source_that_is_not_there_is_said_beside_the_preprocessing(folder):
    (folder / "list.txt").unlink()
    info = dataset_info(folder / "net.prototxt")
    assert info.source is None
    assert "its source list.txt is neither in" in info.notes[-1]
    assert yaml.safe_load(printed(info))["inputs"]


def test_image_params_are_printed_as_steps(folder):
    (folder / "image_params.json").write_text(json.dumps({"size": [4, 6], "mirror": 1, "r_mean": 3}))
    assert yaml.safe_load(printed(dataset_info(folder / "image_params.json"))) == {
        "inputs": {
            "*": {
                "steps": [
                    {"resize": {"height": 4, "width": 6, "interpolation": "linear"}},
                    {"flip": "horizontal"},
                    {"color": "rgb"},
                    {"mean": [3.0, 0.0, 0.0]},
                    {"scale": 1.0},
                ],
                "layout": "nchw",
            }
        }
    }


def test_a_plug_in_is_named_and_not_run(folder):
    (folder / "p.py").write_text("raise SystemExit('it ran')")
    assert printed(dataset_info(folder / "p.py")).startswith(f"# {folder / 'p.py'}: a Python plug-in")
    with pytest.raises(DataError, match=r"none\.py cannot be read: No such file"):
        dataset_info(folder / "none.py")


def test_a_source_alone_is_printed_as_before(folder):
    info = dataset_info(folder / "list.txt")
    assert info.preprocessing is None
    assert printed(info).startswith(f"{folder / 'list.txt'}: list, 2 samples with labels")


def test_a_network_to_deploy_has_nothing_to_show(folder):
    (folder / "deploy.prototxt").write_text('input: "data" input_dim: [1, 3, 8, 8]')
    with pytest.raises(DataError, match="has no data layer"):
        dataset_info(folder / "deploy.prototxt")
