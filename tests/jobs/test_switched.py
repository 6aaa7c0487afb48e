"""A network whose layers lie in the branches of an If that an input decides."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
from networks import write

from distq.cli.app import invoke

TWO_RATES = """<ir_version: 8, opset_import: ["" : 17]>
g (float[1, 4] x, int64 rate) => (float[1, 4] y) <float[4, 4] w = {WEIGHTS}, int64 high = {16000}> {
    c = Equal (rate, high)
    y = If (c) <
        then_branch = t () => (float[1, 4] a) { a = MatMul (x, w) },
        else_branch = e () => (float[1, 4] b) { m = MatMul (x, w) b = Neg (m) }
    >
}"""


def test_the_branch_of_a_value_is_quantized_and_another_value_is_another_job(tmp_path: Path) -> None:
    weights = ", ".join(str(i % 5 - 1.5) for i in range(16))
    model = write(tmp_path, onnx.parser.parse_model(TWO_RATES.replace("WEIGHTS", weights)))
    x = np.random.default_rng(0).normal(size=(8, 4)).astype(np.float32)
    for rate in (8000, 16000):
        np.savez(tmp_path / f"{rate}.npz", x=x, rate=np.full(8, rate))
    begun = f"calibrate {model} --out {tmp_path / 'run'} --executor local --quiet --data {tmp_path}"
    assert invoke(f"{begun}/16000.npz".split()) == 2
    assert invoke(f"{begun}/16000.npz --input-value rate=16000".split()) == 0
    assert invoke(f"{begun}/16000.npz --input-value rate=8000 --resume".split()) == 2
    made = onnx.load(tmp_path / "run" / "model.int8.onnx").graph
    assert [value.name for value in made.input] == ["x", "rate"]
    assert "If" not in {node.op_type for node in made.node}
    measured = (
        f"eval {tmp_path / 'run' / 'model.int8.onnx'} --against {model} --executor local --quiet --data"
    )
    assert invoke([*measured.split(), str(tmp_path / "16000.npz")]) == 0
