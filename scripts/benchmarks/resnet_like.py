"""What calibration costs on ResNet-18 and ResNet-50 at 224 x 224, against a plain float pass.

    .venv/bin/python scripts/benchmarks/resnet_like.py

Weights and images are random (seed 0): the cost depends on the shapes, the accuracy does not matter.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import onnx
from onnx import helper, numpy_helper

BLOCKS = {18: (2, 2, 2, 2), 50: (3, 4, 6, 3)}
IMAGES, REPEATS = 64, 5


@dataclass
class ResNet:
    """A graph that grows layer by layer, each known by the tensor it makes."""

    bottleneck: bool
    nodes: list[onnx.NodeProto] = field(default_factory=list)
    weights: list[onnx.TensorProto] = field(default_factory=list)
    rng: np.random.Generator = field(default_factory=lambda: np.random.default_rng(0))

    def _add(self, operator: str, inputs: list[str], **attributes: object) -> str:
        name = f"{operator}_{len(self.nodes)}"
        self.nodes.append(helper.make_node(operator, inputs, [name], name=name, **attributes))
        return name

    def _weight(self, *shape: int) -> str:
        values = self.rng.standard_normal(shape) * np.sqrt(2 / np.prod(shape[1:]))
        self.weights.append(numpy_helper.from_array(values.astype(np.float32), f"w{len(self.weights)}"))
        return self.weights[-1].name

    def _conv(self, x: str, channels: tuple[int, int], size: int, stride: int = 1) -> str:
        kernel = self._weight(channels[1], channels[0], size, size)
        return self._add(
            "Conv", [x, kernel], kernel_shape=[size] * 2, strides=[stride] * 2, pads=[size // 2] * 4
        )

    def _block(self, x: str, channels: int, width: int, stride: int) -> tuple[str, int]:
        out = 4 * width if self.bottleneck else width
        if self.bottleneck:
            y = self._add("Relu", [self._conv(x, (channels, width), 1)])
            y = self._add("Relu", [self._conv(y, (width, width), 3, stride)])
            y = self._conv(y, (width, out), 1)
        else:
            y = self._add("Relu", [self._conv(x, (channels, width), 3, stride)])
            y = self._conv(y, (width, out), 3)
        beside = x if channels == out and stride == 1 else self._conv(x, (channels, out), 1, stride)
        return self._add("Relu", [self._add("Add", [y, beside])]), out

    def build(self, blocks: tuple[int, ...]) -> onnx.ModelProto:
        """The whole network, for so many blocks a stage."""
        x = self._add("Relu", [self._conv("input", (3, 64), 7, 2)])
        x = self._add("MaxPool", [x], kernel_shape=[3, 3], strides=[2, 2], pads=[1] * 4)
        channels = 64
        for stage, count in enumerate(blocks):
            for number in range(count):
                stride = 2 if stage and not number else 1
                x, channels = self._block(x, channels, 64 << stage, stride)
        x = self._add("Flatten", [self._add("GlobalAveragePool", [x])])
        x = self._add("Gemm", [x, self._weight(1000, channels)], transB=1)
        ends = [("input", [1, 3, 224, 224]), (x, [1, 1000])]
        given, made = (helper.make_tensor_value_info(name, 1, shape) for name, shape in ends)
        graph = helper.make_graph(self.nodes, "resnet", [given], [made], self.weights)
        return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)


def main() -> None:
    with tempfile.TemporaryDirectory() as name:
        model, arrays = Path(name) / "resnet.onnx", Path(name) / "images.npz"
        images = np.random.default_rng(0).standard_normal((IMAGES, 3, 224, 224))
        np.savez(arrays, input=images.astype(np.float32))
        for layers, blocks in BLOCKS.items():
            onnx.save(ResNet(bottleneck=layers >= 50).build(blocks), model)
            script = Path(__file__).with_name("calibration_run.py")
            command = [sys.executable, str(script), "one", str(model), str(arrays), str(REPEATS)]
            made = subprocess.run(command, capture_output=True, text=True, check=True)
            found = json.loads(made.stdout.splitlines()[-1])
            print(f"ResNet-{layers}: {json.dumps(found)}", flush=True)


if __name__ == "__main__":
    main()
