"""What ``--strategy tpu-mlir`` measures: one quantizer in a float network, at the nodes that read it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from job_helpers import Graph, journal_notes, samples, thresholds, write_model
from networks import Builder
from onnx import helper

import distq
from distq.graph.load import load_model
from distq.graph.placement import make_plan
from distq.run.results import RunResult
from distq.stages.reader_scoring import read_by
from distq.targets.ort import ORT

STEPS = 255


def branches() -> onnx.ModelProto:
    """``shared`` is read by a Conv with Relu, by an Add behind it, and through a MaxPool by another Conv."""
    graph = Graph(3)
    graph.add("Relu", [graph.conv("x", (3, 4), "shared_sums", gain=(8, 1, 1, 1))], "shared")
    graph.add("Relu", [graph.conv("shared", (4, 4), "left_sums")], "left")
    graph.add("Add", ["shared", "left"], "sum")
    graph.add("MaxPool", ["shared"], "pooled", kernel_shape=[1, 1])
    graph.conv("pooled", (4, 4), "right")
    graph.add("Add", ["sum", "right"], "both")
    graph.conv("both", (4, 2), "y")
    return graph.model({"y": (1, 2, 8, 8)})


READERS = {"shared": ["left", "sum", "right"], "left": ["sum"], "both": ["y"], "y": ["y"]}


@pytest.fixture(scope="module")
def network(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_model(tmp_path_factory.mktemp("branches") / "branches.onnx", branches())


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("images") / "images.npy"
    np.save(path, samples(10))
    return path


def tune(network: Path, images: Path, out: Path, **options: Any) -> RunResult:
    given = {"executor": "local", "samples": 8, "strategy": "tpu-mlir", **options}
    return distq.tune(model=network, data=images, out=out, **given)


def test_readers_are_nodes_with_their_relu_behind_all_that_shares_the_quantizer(network: Path) -> None:
    model = load_model(network).model
    plan = make_plan(model, ORT, "auto")
    quantizers = {q.name: q for q in plan.quantizers}
    for name, readers in READERS.items():
        assert sorted(read_by(model, quantizers[name])) == sorted(readers), name


def test_an_output_that_is_left_out_is_no_reader(tmp_path: Path) -> None:
    b = Builder(1)
    hidden = b.node("Transpose", b.node("MatMul", "x", b.random(4, 4), output="h"), perm=[1, 0, 2])
    weights = [b.random(1, 9, 4), b.random(1, 9, 3)]
    b.nodes.append(helper.make_node("GRU", [hidden, *weights], ["", "last"], hidden_size=3))
    b.node("MatMul", "last", b.random(3, 2), output="y")
    model = load_model(write_model(tmp_path / "n.onnx", b.model({"x": [1, 5, 4]}, ["y"], 14))).model
    plan = make_plan(model, ORT, "auto")
    assert all("" not in read_by(model, q) for q in plan.quantizers)
    reader = replace(plan.quantizers[0], name=hidden, tensors=(hidden,))
    assert list(read_by(model, reader)) == ["last"]


def distance(network: Path, tensor: str, threshold: float, images: list[np.ndarray[Any, Any]]) -> float:
    """The same written down: Quantize and Dequantize behind ``tensor``, everything else in float."""
    proto = onnx.load(network)
    del proto.graph.output[:]
    proto.graph.output.extend(helper.make_empty_tensor_value_info(name) for name in READERS[tensor])
    exact = onnxruntime.InferenceSession(proto.SerializeToString(), providers=["CPUExecutionProvider"])
    scale = np.float32(threshold / STEPS)
    rounded = onnx.ModelProto.FromString(proto.SerializeToString())
    for node in rounded.graph.node:
        node.input[:] = ["rounded" if name == tensor else name for name in node.input]
    producer = next(i for i, node in enumerate(rounded.graph.node) if tensor in node.output)
    constants = (
        onnx.numpy_helper.from_array(np.array(scale), "step"),
        onnx.numpy_helper.from_array(np.array(0, np.uint8), "zero"),
    )
    rounded.graph.initializer.extend(constants)
    rounded.graph.node.insert(
        producer + 1, helper.make_node("QuantizeLinear", [tensor, "step", "zero"], ["integers"])
    )
    rounded.graph.node.insert(
        producer + 2, helper.make_node("DequantizeLinear", ["integers", "step", "zero"], ["rounded"])
    )
    session = onnxruntime.InferenceSession(rounded.SerializeToString(), providers=["CPUExecutionProvider"])
    total = []
    for image in images:
        wanted, found = exact.run(None, {"x": image[None]}), session.run(None, {"x": image[None]})
        total.append(
            np.mean(
                [
                    np.linalg.norm((b - a).ravel()) / np.linalg.norm(a)
                    for a, b in zip(wanted, found, strict=True)
                ]
            )
        )
    return float(np.mean(total))


@pytest.mark.parametrize("tensor", ["shared", "left"])
def test_a_score_is_the_relative_distance_at_the_readers(
    tensor: str, network: Path, images: Path, tmp_path: Path
) -> None:
    tune(network, images, tmp_path / "run", layers=[tensor])
    (note,) = journal_notes(tmp_path / "run")
    assert note["scored"] > 22
    largest = thresholds(tmp_path / "run")[tensor]["observed_max"]
    start = min(note["start"], largest)
    for threshold, diff in ((start, note["before"]), (note["threshold"], note["after"])):
        assert diff == pytest.approx(distance(network, tensor, threshold, list(samples(8))), rel=1e-4)


@pytest.mark.parametrize("target", ["ort", "openvino", "tensorrt"])
def test_every_tensor_of_every_target_is_searched(
    target: str, network: Path, images: Path, tmp_path: Path
) -> None:
    found = tune(network, images, tmp_path / "run", target=target)
    assert len(found.layers) >= 3
    assert all(layer.scored > 22 and 0 < layer.after <= layer.before for layer in found.layers)
