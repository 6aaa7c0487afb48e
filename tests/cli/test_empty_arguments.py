"""An argument that is empty, as a shell makes it of a variable that is not set, is named."""

from __future__ import annotations

import pytest

from distq.cli.app import invoke


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (["calibrate", "model.onnx", "--data", "", "--out", "run"], "--data is empty"),
        (["calibrate", "model.onnx", "--data=", "--out", "run"], "--data is empty"),
        (["calibrate", "", "--data", "photos", "--out", "run"], "the argument behind calibrate is empty"),
        ([""], "the command is empty"),
    ],
)
def test_it_is_refused(arguments: list[str], named: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert invoke(arguments) == 2
    assert capsys.readouterr().err.startswith(f"distq: {named}")
