"""Layers that ``auto --cost latency`` puts in float because they are faster so; latencies are made up."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from job_helpers import Graph, samples, write_model

import distq
from distq.errors import InterruptedRun, UsageError
from distq.replica.timing import Timing
from distq.replica.worker import Arrays, Worker
from distq.run.auto_report import AutoReport


def chain() -> onnx.ModelProto:
    graph, data = Graph(5), "x"
    for name, channels in zip("abcde", [(3, 4), (4, 4), (4, 4), (4, 4), (4, 4)], strict=True):
        data = graph.add("Relu", [graph.conv(data, channels, f"{name}_sums")], name)
    graph.conv(data, (4, 2), "y")
    return graph.model({"y": (1, 2, 8, 8)})


def _layers_in_float(model: bytes) -> list[bool]:
    """Of each Conv in turn, whether its weight is float."""
    graph = onnx.load_model_from_string(model).graph
    made = {output: node.op_type for node in graph.node for output in node.output}
    return [made.get(n.input[1]) != "DequantizeLinear" for n in graph.node if n.op_type == "Conv"]


class Clock:
    """Times networks by what each layer takes in INT8 and float, and each conversion between the two."""

    def __init__(self, int8: list[float], in_float: list[float], conversion: float) -> None:
        self.int8, self.in_float, self.conversion = int8, in_float, conversion
        self.calls = 0

    def of(self, model: bytes) -> float:
        floats = _layers_in_float(model)
        shores = sum(a != b for a, b in zip([False, *floats], [*floats, False], strict=True))
        times = zip(floats, self.int8, self.in_float, strict=True)
        return sum(f if is_float else i for is_float, i, f in times) + shores * self.conversion

    def run(self, unit: Timing, worker: Worker) -> Arrays:
        self.calls += 1
        jitter = 1 + 1e-4 * np.random.default_rng(self.calls).random(unit.rounds)
        seconds = [self.of(worker.fetch(model)) * 1e-3 * jitter for model in unit.models]
        return {"seconds": np.array(seconds)}


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("islands")
    write_model(folder / "chain.onnx", chain())
    np.save(folder / "data.npy", samples(16))
    return folder


def auto(place: Path, out: Path, monkeypatch: pytest.MonkeyPatch, clock: Clock, **options: Any) -> AutoReport:
    def run(unit: Timing, worker: Worker) -> Arrays:
        return clock.run(unit, worker)

    monkeypatch.setattr(Timing, "run", run)
    given = {"samples": 16, "method": "max", "effort": 1, "cost": "latency", "executor": "local"}
    model, data = place / "chain.onnx", place / "data.npy"
    found = distq.auto(model=model, data=data, out=out, **{"goal": "sqnr:1", **given, **options}).auto
    assert found is not None
    return found


SLOW_IN_FLOAT = [2.0] * 6


def test_a_layer_that_gains_no_time_in_int8_stays_float_with_its_times_and_decibels(
    place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = Clock([1, 1, 9, 1, 1, 1], SLOW_IN_FLOAT, 0.5)
    found = auto(place, tmp_path / "run", monkeypatch, clock)
    assert found.answer.float_layers == ("c",)
    assert found.reached
    (reason,) = found.reasons
    assert reason.name == "c"
    assert "float c: 8 ms instead of 14, " in reason.text
    assert "dB instead of" in reason.text
    again = clock.calls
    assert auto(place, tmp_path / "run", monkeypatch, clock, resume=True) == found
    assert clock.calls == again


def test_a_resume_with_other_threads_measures_its_own_latencies(
    place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Stopped(Clock):
        """Ctrl-C comes before the third measurement."""

        def run(self, unit: Timing, worker: Worker) -> Arrays:
            if self.calls == 2:
                raise KeyboardInterrupt
            return super().run(unit, worker)

    times = [1.0] * 6, SLOW_IN_FLOAT, 0.5
    calls = {}
    for threads in (1, 2):
        out = tmp_path / f"run{threads}"
        with pytest.raises(InterruptedRun):
            auto(place, out, monkeypatch, Stopped(*times))
        clock = Clock(*times)
        auto(place, out, monkeypatch, clock, resume=True, cpus_per_worker=threads)
        calls[threads] = clock.calls
    assert calls[2] == calls[1] + 2


def test_neighbours_that_pay_only_together_are_found(
    place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each alone in float costs two conversions for what it saves; both together cost the same two."""
    found = auto(place, tmp_path / "run", monkeypatch, Clock([1, 1, 3.5, 3.5, 1, 1], SLOW_IN_FLOAT, 1.0))
    assert found.answer.float_layers == ("c", "d")


def test_where_int8_is_faster_everywhere_nothing_is_put_in_float(
    place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = auto(place, tmp_path / "run", monkeypatch, Clock([1] * 6, SLOW_IN_FLOAT, 0.5))
    assert found.answer.layers == 0
    assert [network.name for network in found.tried] == ["INT8"]


def test_with_another_cost_no_latency_is_measured(
    place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = Clock([9] * 6, SLOW_IN_FLOAT, 0.5)
    auto(place, tmp_path / "run", monkeypatch, clock, cost="macs")
    assert not clock.calls


def calibrate(place: Path, out: Path, monkeypatch: pytest.MonkeyPatch, clock: Clock, **options: Any) -> Any:
    monkeypatch.setattr(Timing, "run", lambda unit, worker: clock.run(unit, worker))  # noqa: PLW0108  # it binds the unit
    given = {"samples": 16, "method": "max", "executor": "local", "float_if_faster": "measured", **options}
    return distq.calibrate(model=place / "chain.onnx", data=place / "data.npy", out=out, **given)


def test_calibrate_keeps_in_float_what_is_measured_to_be_faster(
    place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = Clock([1, 1, 9, 1, 1, 1], SLOW_IN_FLOAT, 0.5)
    found = calibrate(place, tmp_path / "run", monkeypatch, clock)
    (layer,) = found.float_layers
    assert layer.name == "c"
    assert "faster in float on this machine: 8 ms instead of 14, " in layer.reason
    assert (
        _layers_in_float((tmp_path / "run" / "model.int8.onnx").read_bytes())
        == [False] * 2 + [True] + [False] * 3
    )
    calls, shipped = clock.calls, (tmp_path / "run" / "model.int8.onnx").read_bytes()
    (tmp_path / "run" / "metrics.json").unlink()
    calibrate(place, tmp_path / "run", monkeypatch, clock, resume=True)
    assert (tmp_path / "run" / "model.int8.onnx").read_bytes() == shipped
    assert clock.calls == calls


def test_calibrate_keeps_all_in_int8_where_that_is_faster(
    place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = calibrate(place, tmp_path / "run", monkeypatch, Clock([1] * 6, SLOW_IN_FLOAT, 0.5))
    assert not found.float_layers


def test_only_onnx_runtime_is_measured(place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock([1] * 6, SLOW_IN_FLOAT, 0.5)
    with pytest.raises(UsageError, match="measured times ONNX Runtime, not --target openvino"):
        calibrate(place, tmp_path / "run", monkeypatch, clock, target="openvino")
