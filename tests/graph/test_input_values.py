"""Inputs that always have one value: a switch of the model, such as a sampling rate."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from networks import node_types, run_literally, write

from distq.errors import UsageError
from distq.graph.input_values import with_values
from distq.graph.load import load_model
from distq.graph.read import read_onnx

TWO_RATES = """<ir_version: 8, opset_import: ["" : 17]>
g (float[1, 4] x, int64 rate, float[N] open) => (float[1, 4] y)
<float[4, 4] w = {WEIGHTS}, int64 high = {16000}> {
    c = Equal (rate, high)
    y = If (c) <
        then_branch = t () => (float[1, 4] a) { m = MatMul (x, w) a = Relu (m) },
        else_branch = e () => (float[1, 4] b) { b = Relu (x) }
    >
}"""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    weights = ", ".join(str(i % 5 - 1.5) for i in range(16))
    return write(tmp_path, onnx.parser.parse_model(TWO_RATES.replace("WEIGHTS", weights)))


def test_the_branch_is_taken_and_the_network_is_called_as_before(path: Path) -> None:
    loaded = load_model(path, read=with_values(read_onnx, {"rate": 16000}))
    assert node_types(loaded) == ["Gemm", "Relu"]
    assert [v.name for v in loaded.model.graph.inputs] == ["x", "rate", "open"]
    feeds = {"x": np.ones((1, 4), np.float32), "rate": np.array(16000), "open": np.ones(2, np.float32)}
    wanted = run_literally(onnx.load(path), feeds)["y"]
    np.testing.assert_allclose(run_literally(loaded.serialized(), feeds)["y"], wanted, rtol=1e-6)


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("rat", 16000, "rat, which is no input of .*; the nearest is rate"),
        ("rate", 0.5, "rate=0.5 is no int64"),
        ("open", 1, "open: .* leaves its sizes open: give them with --input-shape"),
    ],
)
def test_a_value_that_no_input_can_have_is_refused(path: Path, name: str, value: float, words: str) -> None:
    with pytest.raises(UsageError, match=words):
        load_model(path, read=with_values(read_onnx, {name: value}))
