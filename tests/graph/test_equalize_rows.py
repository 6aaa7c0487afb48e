"""Channels of rows that linear layers read: factors go into the normalization before them and the weights."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
import onnx_ir as ir
import pytest
from job_helpers import Graph, calibrate, write_model

import distq
from distq.graph.equalize import equalized, sites
from distq.graph.load import load_model
from distq.graph.placement import make_plan
from distq.graph.site import Site
from distq.replica.session import Session
from distq.replica.worker import WorkerSettings
from distq.targets import find_target

WIDTH, LENGTH, HIDDEN = 8, 6, 12
WIDE = np.where(np.arange(WIDTH) == 2, 30.0, 1.0)


def block(*, as_one: bool) -> onnx.ModelProto:
    """A normalization with one wide channel, two layers that read it, a GELU of one, and a third layer."""
    graph = Graph(1)
    factor, shift = graph.constant(WIDE), graph.constant(WIDE * 0.2)
    if as_one:
        graph.add("LayerNormalization", ["x", factor, shift], "normal", axis=-1)
    else:
        graph.add("ReduceMean", ["x"], "mean", axes=[-1])
        graph.add("Sub", ["x", "mean"], "centred")
        graph.add("Pow", ["centred", graph.constant(2.0)], "squares")
        graph.add("ReduceMean", ["squares"], "variance", axes=[-1])
        graph.add("Add", ["variance", graph.constant(1e-5)], "above")
        graph.add("Sqrt", ["above"], "deviation")
        graph.add("Div", ["centred", "deviation"], "unit")
        graph.add("Mul", ["unit", factor], "scaled")
        graph.add("Add", ["scaled", shift], "normal")
    linear(graph, "normal", (WIDTH, HIDDEN), "up", 1 / WIDE)
    linear(graph, "normal", (WIDTH, 3), "other", 1 / WIDE)
    graph.add("Div", ["up", graph.constant(np.sqrt(2))], "part")
    graph.add("Erf", ["part"], "erf")
    graph.add("Add", ["erf", graph.constant(1.0)], "gate")
    graph.add("Mul", ["up", "gate"], "twice")
    graph.add("Mul", ["twice", graph.constant(0.5)], "gelu")
    linear(graph, "gelu", (HIDDEN, 4), "y")
    model = graph.model({"y": (1, LENGTH, 4), "other": (1, LENGTH, 3)}, {"x": (1, LENGTH, WIDTH)})
    model.opset_import[0].version = 17 if as_one else 13
    return model


def linear(graph: Graph, source: str, sizes: tuple[int, int], out: str, gain: npt.ArrayLike = 1.0) -> None:
    weight = graph.rng.standard_normal(sizes) / np.sqrt(sizes[0]) * np.reshape(gain, (-1, 1))
    graph.add("MatMul", [source, graph.constant(weight)], f"{out}_product")
    graph.add("Add", [f"{out}_product", graph.constant(graph.rng.standard_normal(sizes[1]) * 0.1)], out)


def rows(count: int) -> npt.NDArray[np.float32]:
    return np.asarray(np.random.default_rng(0).standard_normal((count, LENGTH, WIDTH)), np.float32)


def found_in(model: ir.Model, target: str) -> dict[str, Site]:
    return {site.tensors[0]: site for site in sites(model, make_plan(model, find_target(target), "auto"))}


def outputs(model: ir.Model, feeds: dict[str, Any]) -> list[npt.NDArray[Any]]:
    return Session(bytes(ir.to_proto(model).SerializeToString()), WorkerSettings()).run(feeds)


@pytest.mark.parametrize("target", ["openvino", "ort"])
@pytest.mark.parametrize("as_one", [False, True])
def test_factors_change_nothing_but_the_channels(tmp_path: Path, as_one: bool, target: str) -> None:
    model = load_model(write_model(tmp_path / "model.onnx", block(as_one=as_one))).model
    found = found_in(model, target)
    assert set(found) == {"normal", "gelu"}
    assert [bool(found[name].writers) for name in ("normal", "gelu")] == [True, False]
    assert len(found["normal"].readers) == 2
    scales = {found["normal"]: np.sqrt(WIDE / WIDE.max()), found["gelu"]: np.linspace(0.1, 1, HIDDEN)}
    other = equalized(model, scales)
    for before, after in zip(*(outputs(m, {"x": rows(1)}) for m in (model, other)), strict=True):
        np.testing.assert_allclose(after, before, rtol=1e-4, atol=1e-4)
    kinds = [[node.op_type for node in m.graph] for m in (model, other)]
    assert kinds[1].count("Mul") == kinds[0].count("Mul") + 1, "behind the GELU alone"


def test_what_something_else_reads_is_left_alone(tmp_path: Path) -> None:
    network = block(as_one=True)
    network.graph.node.append(onnx.helper.make_node("Softmax", ["normal"], ["probabilities"]))
    value = onnx.helper.make_tensor_value_info("probabilities", onnx.TensorProto.FLOAT, (1, LENGTH, WIDTH))
    network.graph.output.append(value)
    model = load_model(write_model(tmp_path / "model.onnx", network)).model
    assert "normal" not in found_in(model, "openvino")


@pytest.mark.parametrize("target", ["openvino", "ort"])
def test_a_search_gains_by_a_wide_channel_that_weights_can_take(tmp_path: Path, target: str) -> None:
    model = write_model(tmp_path / "model.onnx", block(as_one=False))
    np.save(tmp_path / "data.npy", rows(48))
    given = {"samples": 32, "target": target}
    plain = calibrate(model, tmp_path / "data.npy", tmp_path / "plain", **given)
    tuned = distq.tune(
        model=model,
        data=tmp_path / "data.npy",
        out=tmp_path / "tuned",
        tune_samples=16,
        executor="local",
        **given,
    )
    assert tuned.holdout is not None
    assert plain.holdout is not None
    assert tuned.holdout.after is not None
    assert (tuned.holdout.after.sqnr_db or 0) > (plain.holdout.before.sqnr_db or 0) + 3
