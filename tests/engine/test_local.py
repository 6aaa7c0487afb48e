from __future__ import annotations

import subprocess
import sys

SCRIPT = """
import sys
sys.path[:0] = [{folder!r}]
from engine_units import Square
from distq.config import CommonOptions
from distq.engine.factory import open_executor
with open_executor(CommonOptions(executor="local"), print) as executor:
    assert [arrays["square"][0] for _, arrays in executor.run([Square(4)])] == [16]
print("ray" in sys.modules)
"""


def test_the_local_executor_never_imports_ray() -> None:
    folder = __file__.rpartition("/")[0]
    done = subprocess.run(  # noqa: S603  # our own interpreter and script
        [sys.executable, "-c", SCRIPT.format(folder=folder)], capture_output=True, text=True, check=True
    )
    assert done.stdout == "False\n"
