"""``tune --strategy bitmain`` against the serial tuner of REFERENCE.md 1.1, written down once more."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from job_helpers import Graph, journal_notes, samples, three_layers, thresholds, write_model
from serial_rule import serial_rule

import distq
from distq.graph.load import LoadedModel, load_model
from distq.graph.placement import make_plan
from distq.graph.qdq import export
from distq.graph.rows import with_threshold
from distq.graph.state import initial_state
from distq.quant.table import Row, Table, read_table
from distq.replica.session import Session
from distq.replica.worker import WorkerSettings
from distq.run.results import RunResult
from distq.targets.openvino import OPENVINO
from distq.targets.ort import ORT

pytestmark = pytest.mark.usefixtures("eight_bits")


class Serial:
    """The serial tuner of REFERENCE.md 1.1 written down: no units, no cuts, no memory."""

    def __init__(self, model: LoadedModel, table: Table, images: list[np.ndarray[Any, Any]]) -> None:
        self.model = model
        self.table = table
        self.plan = make_plan(model.model, ORT, "auto", tie=False)
        self.order = [quantizer.name for quantizer in self.plan.quantizers]
        self.images = images
        exact = Session(model.serialized(), WorkerSettings(), float_network=True)
        self.wanted = [exact.run({"x": image[None]}) for image in images]

    def row(self, name: str, threshold: float) -> Row:
        quantizer = next(q for q in self.plan.quantizers if q.name == name)
        return with_threshold(self.plan, quantizer, self.table[name], threshold, "bitmain")

    def diff(self, name: str, threshold: float) -> float:
        """Mean squared difference of the outputs with INT8 up to a tensor and float behind it."""
        prefix = self.order[: self.order.index(name) + 1]
        plan = make_plan(self.model.model, ORT, "auto", tie=False, only=prefix)
        rows = {**self.table, name: self.row(name, threshold)}
        state = initial_state(
            self.model.model, plan, {q.name: rows[q.name].encoding for q in plan.quantizers}
        )
        session = Session(export(self.model.model, plan, state), WorkerSettings(), fused=True)
        total = []
        for image, wanted in zip(self.images, self.wanted, strict=True):
            found = session.run({"x": image[None]})
            total.append(
                sum(float(np.mean((a.astype(float) - b) ** 2)) for a, b in zip(found, wanted, strict=True))
            )
        return math.fsum(total) / len(total)

    def tune(self, names: list[str]) -> Iterator[tuple[str, float, int]]:
        """Name, threshold and number scored of each layer, greedily in order."""
        for name in names:
            start = self.table[name].threshold
            best, _, scored = serial_rule(start, partial(self.diff, name))
            if best != start:
                self.table = {**self.table, name: self.row(name, best)}
            yield name, best, scored


def gated() -> onnx.ModelProto:
    """Conv ``first``, times its own Sigmoid in float, Conv ``second``: (1, 2, 8, 8).

    No integer node up to ``gated`` writes or reads it.
    """
    graph = Graph(2)
    graph.add("Sigmoid", [graph.conv("x", (3, 4), "first")], "gate")
    graph.conv(graph.add("Mul", ["first", "gate"], "gated"), (4, 2), "second")
    return graph.model({"second": (1, 2, 8, 8)})


def tuned(model: Path, data: Path, folder: Path, **options: Any) -> RunResult:
    return distq.tune(
        model=model,
        data=data,
        out=folder / "run",
        executor="local",
        samples=8,
        tune_samples=5,
        **options,
    )


@pytest.mark.parametrize(
    ("network", "layers", "searched"),
    [
        (three_layers, (), ["first", "second", "average", "flat", "scores"]),
        (gated, ("x", "first", "gated", "second"), ["x", "first", "gated", "second"]),
    ],
)
def test_bitmain_is_the_serial_tuner(
    network: Callable[[], onnx.ModelProto],
    layers: tuple[str, ...],
    searched: list[str],
    data: Path,
    tmp_path: Path,
) -> None:
    model = write_model(tmp_path / "model.onnx", network())
    found = tuned(model, data, tmp_path, strategy="bitmain", bias_correction=False, layers=layers)
    start = read_table(found.out / "thresholds.calibrated.json")
    serial = Serial(load_model(model), start, list(samples()[:5]))
    notes = {note["name"]: note for note in journal_notes(found.out)}
    assert list(notes) == searched
    assert any(note["accepted"] for note in notes.values())
    for name, threshold, scored in serial.tune(searched):
        assert (notes[name]["threshold"], notes[name]["scored"]) == (threshold, scored), name
    assert {name: row["threshold"] for name, row in thresholds(found.out).items()} == {
        name: row.threshold for name, row in serial.table.items()
    }


@pytest.mark.parametrize("strategy", ["bitmain", "tpu-mlir", "grid"])
def test_every_rule_takes_tensors_with_16_bits(strategy: str, data: Path, tmp_path: Path) -> None:
    model = write_model(tmp_path / "model.onnx", three_layers())
    wide = make_plan(load_model(model).model, OPENVINO, "auto").quantizers[1].name
    found = tuned(model, data, tmp_path, target="openvino", strategy=strategy, int16_layers=(wide,))
    assert [row.bits for name, row in read_table(found.out / "thresholds.json").items() if name == wide] == [
        16
    ]
    assert wide in {layer.name for layer in found.layers}
