"""Command lines of convert_imageset, as its users have them in scripts."""

from __future__ import annotations

import json

import cv2
import numpy as np
import pytest

from distq.cli import app as cli


@pytest.fixture
def photos(tmp_path):
    for number in range(3):
        cv2.imwrite(str(tmp_path / f"{number}.png"), np.full((4, 6, 3), number, np.uint8))
    (tmp_path / "list.txt").write_text("0.png 1\n1.png 2\n2.png 3\n")
    return tmp_path


def build(photos, capsys, *flags):
    database = photos / "db"
    line = ["dataset", "build", *flags, str(photos), str(photos / "list.txt"), str(database), "--quiet"]
    assert cli.invoke(line) == 0
    assert cli.invoke(["dataset", "info", str(database), "--json"]) == 0
    return json.loads(capsys.readouterr().out)


@pytest.mark.parametrize(
    ("flags", "shape"),
    [
        (["--gray=true"], "4x6x1"),
        (["--gray=false", "--shuffle=false", "--encoded=false"], "4x6x3"),
        (["-gray", "-resize_width=3", "-resize_height", "2"], "2x3x1"),
        (["--nogray", "--noshuffle", "--check_size=true", "--backend=lmdb"], "4x6x3"),
    ],
)
def test_flags_as_gflags_takes_them(photos, capsys, flags, shape):
    info = build(photos, capsys, *flags)
    assert info["names"] == ["00000000_0.png", "00000001_1.png", "00000002_2.png"]
    assert [shapes for (shapes,) in info["shapes"]] == [shape] * 3


def test_a_switch_takes_no_other_value(photos, capsys):
    line = ["dataset", "build", str(photos), str(photos / "list.txt"), str(photos / "db"), "--gray=maybe"]
    assert cli.invoke(line) == 2
    assert "'--gray' does not take a value" in capsys.readouterr().err


def test_an_unknown_flag_is_still_named(photos, capsys):
    line = ["dataset", "build", str(photos), str(photos / "list.txt"), str(photos / "db"), "--nocolor"]
    assert cli.invoke(line) == 2
    assert "--nocolor" in capsys.readouterr().err
