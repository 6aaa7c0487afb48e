"""What --cache-memory has to hold at least."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import onnx_ir as ir
import pytest

import distq
from distq.engine.progress import SilentReporter
from distq.run.least_cache import too_small

WIDE = ir.from_proto(
    onnx.parser.parse_model("""
    <ir_version: 8, opset_import: ["" : 17]>
    wide (float[N, 4, 512, 512] x) => (float[N, 4] y) {
        wide = Concat <axis = 1> (x, x)
        names = Constant <value_strings = ["a"]> ()
        y = ReduceMax <axes = [2, 3], keepdims = 0> (x)
    }
    """)
)
next(node for node in WIDE.graph if node.op_type == "Concat").outputs[0].shape = ir.Shape(["N", 8, 512, 512])
WIDE.graph.node(0).outputs[0].dtype = ir.DataType.FLOAT


@pytest.mark.parametrize(("memory", "said"), [(None, False), (7, True), (8, True), (9, False)])
def test_the_largest_tensor_of_one_sample_decides(memory: int | None, *, said: bool) -> None:
    text = too_small(memory, WIDE)
    assert (text is not None) == said
    if text is not None:
        assert f"--cache-memory {memory}: the largest tensor, wide, has 8.0 MiB" in text
        assert text.endswith("give 9 or more")


class Warned(SilentReporter):
    def __init__(self) -> None:
        self.said: list[str] = []

    def warn(self, text: str) -> None:
        self.said.append(text)


def test_it_is_said_of_a_run(tmp_path: Path) -> None:
    nodes = [
        onnx.helper.make_node("Conv", ["x", "w"], ["c"], kernel_shape=[1, 1]),
        onnx.helper.make_node("GlobalAveragePool", ["c"], ["y"]),
    ]
    graph = onnx.helper.make_graph(
        nodes,
        "large",
        [onnx.helper.make_tensor_value_info("x", 1, [1, 1, 64, 64])],
        [onnx.helper.make_tensor_value_info("y", 1, [1, 64, 1, 1])],
        [onnx.numpy_helper.from_array(np.ones((64, 1, 1, 1), np.float32), "w")],
    )
    opset = [onnx.helper.make_opsetid("", 17)]
    onnx.save(onnx.helper.make_model(graph, opset_imports=opset, ir_version=8), tmp_path / "m.onnx")
    np.save(tmp_path / "x.npy", np.random.default_rng(0).random((4, 1, 64, 64), np.float32))
    reporter = Warned()
    distq.calibrate(
        model=tmp_path / "m.onnx",
        data=tmp_path / "x.npy",
        out=tmp_path / "run",
        samples=2,
        executor="local",
        cache_memory=1,
        reporter=reporter,
    )
    assert reporter.said[0].startswith("--cache-memory 1: the largest tensor, c, has 1.0 MiB for each sample")
