"""A sample that ends the process it is decoded in: what a person sees, and that nothing finished is lost."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from job_helpers import write_photos

from distq.cli.app import invoke

PLUGIN = """
import os, signal
from pathlib import Path
import cv2
import numpy as np

def image_preprocess(img_path, norm=True):
    folder = Path({folder!r})
    if Path(img_path).name == "3.png" and (folder / "armed").exists():
        with (folder / "attempts").open("a") as stream:
            stream.write(str(os.getpid()) + "\\n")
        os.kill(os.getpid(), signal.SIGKILL)
    return cv2.imread(img_path).astype(np.float32)[None]
"""

JOB = """
command: calibrate
model: {model}
data: photos
preprocess: plug.py
allow_code: true
samples: 12
shard_size: 2
workers: 2
retries: 1
out: run
quiet: true
"""


def unit_keys(journal: Path) -> list[str]:
    """Keys of the finished units, in the order they were written."""
    records = [json.loads(line)["record"] for line in journal.read_bytes().splitlines()]
    return [record["key"] for record in records if record["type"] == "unit"]


def test_a_sample_that_ends_its_process_is_named_and_the_rest_is_kept(
    ray_session: None, model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    del ray_session
    write_photos(tmp_path / "photos", 12)
    (tmp_path / "plug.py").write_text(PLUGIN.format(folder=str(tmp_path)))
    (tmp_path / "armed").touch()
    job = tmp_path / "job.yaml"
    job.write_text(JOB.format(model=model))
    assert invoke(["run", str(job)]) == 3

    lines = capsys.readouterr().err.splitlines()
    processes = (tmp_path / "attempts").read_text().split()
    assert len(lines) == 3
    assert len(processes) == 2, "retries: 1"
    attempts = [rf"\S+, process {process}, node [0-9a-f]{{8}} \(its process ended\)" for process in processes]
    unit = r"calibrate, samples \d-5"  # 0, 1, 10, 11, 2, 3
    assert re.fullmatch(rf"warning: lost a worker on {attempts[0]}; again: .*{unit}.*", lines[0])
    assert re.fullmatch(rf"warning: lost a worker on {attempts[1]}; given up: {unit}", lines[1])
    named = rf"distq: {unit}: its worker was lost in each of 2 attempts: {'; '.join(attempts)}; the other .*"
    assert re.fullmatch(named, lines[2])

    kept = unit_keys(tmp_path / "run" / "journal.jsonl")
    assert len(kept) > 1
    (tmp_path / "armed").unlink()
    assert invoke(["run", str(job), "--resume", "--retries", "0"]) == 0
    every = unit_keys(tmp_path / "run" / "journal.jsonl")
    assert every[: len(kept)] == kept
    assert len(set(every)) == len(every), "a finished unit ran again"
