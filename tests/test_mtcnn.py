"""A real cascade: MTCNN's three Caffe networks, from photos to tuned INT8 of all three."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import cv2
import numpy as np
import pytest

CHECKOUT = Path(__file__).parents[1]
DATA = CHECKOUT.parent / "shared" / "data"

pytestmark = [
    pytest.mark.real,
    pytest.mark.skipif(not (DATA / "caffe").is_dir(), reason=f"needs the networks and photos of {DATA}"),
]


def script():
    """configs/mtcnn.py."""
    spec = importlib.util.spec_from_file_location("mtcnn_script", CHECKOUT / "configs" / "mtcnn.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def halved(path):
    return cv2.resize(cv2.imread(str(path)), None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA)


def test_the_int8_cascade_finds_the_faces_of_the_float_one(tmp_path):
    mtcnn = script()
    photos = [halved(path) for path in sorted((DATA / "faces").glob("*.jpg"))]
    cascade = mtcnn.mtcnn(DATA / "caffe", tmp_path / "models")
    result = cascade.tune(
        iter(photos[:10]),
        out=tmp_path / "run",
        samples=24,
        tune_samples=8,
        holdout=8,
        effort=1,
        executor="local",
    )
    assert result.order == ("pnet", "rnet", "onet")
    for run in result.runs.values():
        assert run.holdout.after.sqnr_db > 6
    wanted = [cascade.forward(photo) for photo in photos]
    cascade.use_int8(tmp_path / "run")
    found = [cascade.forward(photo) for photo in photos]
    faces = sum(map(len, wanted))
    assert faces > 90
    overlaps = np.array(
        [
            mtcnn.overlap(face, boxes).max(initial=0)
            for ours, boxes in zip(wanted, found, strict=True)
            for face in ours
        ]
    )
    assert (overlaps > 0.5).mean() > 0.95
    assert overlaps[overlaps > 0.5].mean() > 0.85
    assert abs(sum(map(len, found)) - faces) < 0.05 * faces
