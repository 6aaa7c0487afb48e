"""Tiny networks, samples and executors the tests of the jobs share."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper

import distq
from distq.engine.executor import More, Unit, no_more
from distq.engine.journal import Journal
from distq.engine.local import LocalExecutor
from distq.replica.worker import Arrays, WorkerSettings
from distq.run.results import RunResult

SHAPE = (3, 8, 8)
CLASSES = 6
SAMPLES = 12


class Graph:
    """Nodes and random weights in the making."""

    def __init__(self, seed: int) -> None:
        self.rng = np.random.default_rng(seed)
        self.nodes: list[onnx.NodeProto] = []
        self.constants: list[onnx.TensorProto] = []

    def constant(self, values: npt.ArrayLike) -> str:
        name = f"constant{len(self.constants)}"
        self.constants.append(numpy_helper.from_array(np.asarray(values, np.float32), name))
        return name

    def add(self, op: str, inputs: Sequence[str], output: str, **attributes: Any) -> str:
        self.nodes.append(helper.make_node(op, inputs, [output], **attributes))
        return output

    def conv(
        self,
        source: str,
        channels: tuple[int, int],
        output: str,
        *,
        kernel: int = 3,
        group: int = 1,
        gain: Sequence[float] = (1.0,),
        bias: float | None = None,
    ) -> str:
        """A Conv that keeps the size; ``gain`` scales the output channels, biases are random unless given."""
        fan = channels[0] // group * kernel * kernel
        shape = (channels[1], channels[0] // group, kernel, kernel)
        factors = np.broadcast_to(gain, channels[1])
        weight = self.rng.standard_normal(shape) * np.sqrt(2 / fan) * factors.reshape(-1, 1, 1, 1)
        random = self.rng.standard_normal(channels[1]) * 0.1
        biases = random if bias is None else np.full(channels[1], bias)
        inputs = [source, self.constant(weight), self.constant(biases)]
        return self.add("Conv", inputs, output, pads=[kernel // 2] * 4, group=group)

    def gemm(self, source: str, features: tuple[int, int], output: str) -> str:
        weight = self.constant(self.rng.standard_normal(features) / np.sqrt(features[0]))
        return self.add("Gemm", [source, weight, self.constant(np.zeros(features[1]))], output)

    def depthwise_blocks(self, blocks: int, spread: Sequence[float] = (1.0,)) -> str:
        """Depthwise and pointwise Convs of ``x`` in turn, each with a Relu; the last has 8 channels.

        Channels in front of depthwise layers are larger by ``spread``, which these take back.
        """
        channels, value = 3, "x"
        back: Sequence[float] = (1.0,)
        for block in range(blocks):
            sums = f"depthwise{block}_sums"
            depthwise = self.conv(value, (channels, channels), sums, group=channels, gain=back)
            value = self.add("Relu", [depthwise], f"depthwise{block}")
            pointwise = self.conv(value, (channels, 8), f"pointwise{block}_sums", kernel=1, gain=spread)
            back = [1 / factor for factor in spread]
            channels, value = 8, self.add("Relu", [pointwise], f"pointwise{block}")
        return value

    def model(
        self, outputs: dict[str, Sequence[int]], inputs: dict[str, Sequence[int]] | None = None
    ) -> onnx.ModelProto:
        def infos(named: dict[str, Sequence[int]]) -> list[onnx.ValueInfoProto]:
            return [helper.make_tensor_value_info(n, TensorProto.FLOAT, shape) for n, shape in named.items()]

        graph = helper.make_graph(
            self.nodes, "tiny", infos(inputs or {"x": (1, *SHAPE)}), infos(outputs), self.constants
        )
        return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)


def three_layers(seed: int = 1) -> onnx.ModelProto:
    """Conv+Relu ``first``, depthwise Conv+Relu ``second``, average, Gemm ``scores``: (1, 6).

    One channel of ``first`` is loud and hardly read, so that a threshold below its maximum is better.
    """
    graph = Graph(seed)
    graph.add("Relu", [graph.conv("x", (3, 4), "first_sums", gain=(20, 1, 1, 1))], "first")
    second = graph.conv("first", (4, 4), "second_sums", group=4, gain=(0.0001, 1, 1, 1))
    graph.add("Relu", [second], "second")
    graph.add("AveragePool", ["second"], "average", kernel_shape=[2, 2], strides=[2, 2])
    graph.add("Flatten", ["average"], "flat")
    graph.gemm("flat", (64, CLASSES), "scores")
    return graph.model({"scores": (1, CLASSES)})


def depthwise_network(seed: int = 0, blocks: int = 4, spread: Sequence[float] = (1.0,)) -> onnx.ModelProto:
    """Depthwise and pointwise Convs in turn, each with a Relu, then average and Gemm: (1, 6)."""
    graph = Graph(seed)
    average = graph.add("GlobalAveragePool", [graph.depthwise_blocks(blocks, spread)], "average")
    graph.add("Flatten", [average], "flat")
    graph.gemm("flat", (8, CLASSES), "scores")
    return graph.model({"scores": (1, CLASSES)})


def write_model(path: Path, proto: onnx.ModelProto) -> Path:
    path.write_bytes(proto.SerializeToString())
    return path


SPREAD = (100.0, 30.0, 10.0, 3.0, 1.0, 1.0, 1.0, 1.0)
"""Widths of channels for :func:`depthwise_network` by which they are worth evening out."""


def evening_job(folder: Path) -> dict[str, Any]:
    """Options of a ``tune`` that evens out channels; its network and data are put into the folder."""
    write_model(folder / "model.onnx", depthwise_network(spread=SPREAD))
    np.save(folder / "data.npy", samples(12))
    files = {"model": folder / "model.onnx", "data": folder / "data.npy"}
    options = {"target": "openvino", "channel_scales": False, "executor": "local"}
    return {**files, "samples": 8, "method": "kl", **options}


def samples(count: int = SAMPLES, shape: Sequence[int] = SHAPE, seed: int = 0) -> npt.NDArray[np.float32]:
    """Normal values with a few large ones, so that clipping has something to gain.

    Fewer are the first of more.
    """
    values = np.random.default_rng(seed).standard_normal((count, *shape))
    large = np.random.default_rng([seed, 1]).random(values.shape) < 0.01
    return np.asarray(values * np.where(large, 4, 1), np.float32)


class Watched(LocalExecutor):
    """Notes the key of every unit it runs, and which are transient.

    Ctrl-C comes before the unit behind ``stop_after``.
    """

    def __init__(self, ran: list[str], stop_after: int | None = None) -> None:
        super().__init__(WorkerSettings())
        self.ran = ran
        self.stop_after = stop_after

    def run(self, units: Sequence[Unit], more: More = no_more) -> Iterator[tuple[int, Arrays]]:
        position = -1
        while position + 1 < len(units) or more():
            position += 1
            unit = units[position]
            if len(self.ran) == self.stop_after:
                raise KeyboardInterrupt
            ((_, arrays),) = super().run([unit])
            self.ran.append(("transient " if getattr(unit, "transient", False) else "") + unit.key)
            yield position, arrays


def calibrate(model: Path, data: Path | None, out: Path, **options: Any) -> RunResult:
    """``distq.calibrate`` in this process."""
    return distq.calibrate(model=model, data=data, out=out, **{"executor": "local", **options})


def use_watched(patch: pytest.MonkeyPatch, ran: list[str], stop_after: int | None = None) -> None:
    """Have the jobs use a watched executor."""
    patch.setattr("distq.run.open.open_executor", lambda *_: Watched(ran, stop_after))


def write_photos(folder: Path, count: int) -> Path:
    """Noise of 8 by 8 pixels, ``0.png`` and so on."""
    folder.mkdir()
    rng = np.random.default_rng(0)
    for number in range(count):
        cv2.imwrite(str(folder / f"{number}.png"), rng.integers(0, 256, (8, 8, 3), np.uint8))
    return folder


def read_json(path: Path) -> Any:
    """What a file of strict JSON holds."""

    def refuse(text: str) -> None:
        raise ValueError(f"{path} holds {text}, which is not JSON")

    return json.loads(path.read_bytes(), parse_constant=refuse)


def thresholds(run: Path) -> dict[str, dict[str, Any]]:
    """The rows of a run's table, in the order of the file."""
    rows: dict[str, dict[str, Any]] = read_json(run / "thresholds.json")["tensors"]
    return rows


def journal_notes(run: Path) -> list[dict[str, Any]]:
    """Fields of the notes about decided layers."""
    with Journal(run / "journal.jsonl") as journal:
        return journal.notes("layer")


def tree(folder: Path) -> dict[str, bytes | None]:
    """Every file below a folder with its content; folders have None."""
    return {
        str(path.relative_to(folder)): path.read_bytes() if path.is_file() else None
        for path in sorted(folder.rglob("*"))
    }


class Reference:
    """A network run by ONNX Runtime alone."""

    def __init__(self, model: Path) -> None:
        options = onnxruntime.SessionOptions()
        options.log_severity_level = 4
        self._session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])

    def __call__(self, sample: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        """The first output for one sample without its batch axis."""
        found: npt.NDArray[np.float32] = self._session.run(
            None, {self._session.get_inputs()[0].name: sample[None]}
        )[0]
        return found


BITS = ("thresholds.json", "model.int8.onnx")
"""What is byte-identical wherever and however a job runs."""


def bits(run: Path) -> dict[str, bytes]:
    """These files of a run."""
    return {name: (run / name).read_bytes() for name in BITS}
