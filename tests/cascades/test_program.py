"""A Python file of ``distq cascade`` that cannot be run is named, with what it raised."""

from __future__ import annotations

from pathlib import Path

import pytest

from distq.cli.cascade import load_cascade
from distq.errors import UsageError


@pytest.mark.parametrize(
    ("source", "reason"),
    [
        ("x = (", "SyntaxError"),
        ("import no_such_module_here", "ModuleNotFoundError"),
        ("raise ValueError('no')", "ValueError: no"),
        ("import sys; sys.exit(0)", "SystemExit"),
        ("x = 1", "has no cascades"),
    ],
)
def test_it_is_refused(tmp_path: Path, source: str, reason: str) -> None:
    path = tmp_path / "program.py"
    path.write_text(source)
    with pytest.raises(UsageError, match=rf"program\.py .*{reason}"):
        load_cascade(path)
