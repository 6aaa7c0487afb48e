"""What a user of the vendors' tools for Caffe does from their files to their files."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from caffe_cases import COMPARED
from caffe_networks import numbers
from job_helpers import thresholds

from distq.cli.app import invoke

LOCAL = ("--executor", "local", "--quiet")
CHIP = ("--scheme", "symmetric", "--per-tensor-weights")
TABLE = """
name: "net"
layer { name: "data" threshold_y: 1.5 blob_param { name: "data" threshold_y: 1.5 } }
layer { name: "c" threshold_y: 4 blob_param { name: "c" threshold_y: 4 } }
layer { name: "bn" threshold_y: 4 blob_param { name: "c" threshold_y: 4 } }
layer { name: "sc" threshold_y: 4 blob_param { name: "c" threshold_y: 4 } }
layer { name: "r" threshold_y: 4 blob_param { name: "c" threshold_y: 4 } }
layer { name: "p" threshold_y: 4 blob_param { name: "p" threshold_y: 4 } }
layer { name: "old" threshold_y: 4 blob_param { name: "old" threshold_y: 4 } }
"""


def test_from_the_vendors_table_to_its_three_forms(tmp_path: Path, capsys) -> None:
    np.save(tmp_path / "x.npy", numbers((12, 4, 7, 6), 3))
    net, table, run = COMPARED["in place"].save(tmp_path), tmp_path / "start.prototxt", tmp_path / "run"
    table.write_text(TABLE)
    for form in ("bitmain", "bitmain-text"):
        assert invoke(["convert", str(table), "--to", form, "--out", str(tmp_path / form), "--quiet"]) == 0
    given = [str(net), "--data", str(tmp_path / "x.npy"), *CHIP, "--tune-samples", "8", *LOCAL]
    for form in (table, tmp_path / "bitmain", tmp_path / "bitmain-text"):
        capsys.readouterr()
        out = str(tmp_path / f"run_{form.name}")
        search = ["--strategy", "bitmain", "--ignore-layers", "data"]
        assert invoke(["tune", *given, "--table", str(form), *search, "--samples", "8", "--out", out]) == 0
        assert "the model has nothing of these names: old" in capsys.readouterr().err
        start = Path(out) / "thresholds.calibrated.json"
        assert thresholds(Path(out))["data"]["threshold"] == 1.5 * 127 / 128
        assert '"threshold": 3.96875' in start.read_text()
    run = tmp_path / "run_start.prototxt"
    for form in ("bitmain", "bitmain-prototxt", "bitmain-text"):
        written = tmp_path / f"tuned_{form}"
        assert invoke(["convert", str(run), "--to", form, "--out", str(written), "--quiet"]) == 0
        assert invoke(["diff", *given, "--table", str(written), "--samples", "8"]) == 0
    assert (tmp_path / "tuned_bitmain-text").read_text().startswith("data 1.5\nc ")
