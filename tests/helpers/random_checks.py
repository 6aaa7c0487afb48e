"""What a user relies on for any network: it is quantized as it should be, or refused in one line."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import onnx
import pytest
from networks import run_literally, sqnr
from onnx import TensorProto, helper, numpy_helper
from random_graphs import Drawn, run_optimized

import distq
from distq.errors import InputError

CLOSE, MARGIN = 20.0, 12.0
"""Decibels: a network that noise of 8 bits leaves at less is degenerate; others may have so much less."""

JUMPS = frozenset(
    {
        "Sign",
        "Floor",
        "Ceil",
        "Round",
        "Hardmax",
        "Greater",
        "Less",
        "ArgMax",
        "ThresholdedRelu",
        "Shrink",
        "If",
        "Cast",
    }
)
"""Operators by which the least noise may change all: with them a network is degenerate too."""

CLOSEST = frozenset({"auto", "max", "mse"})
"""Methods that keep any distribution; others clip those of few values."""

LARGER_BATCH = 3


def refusal_or_quantized(drawn: Drawn, results, folder: Path, target: str, **options) -> str | None:
    """Quantize a network and check what comes of it.

    Args:
        drawn: a valid network.
        results: its outputs for each sample, by name.
        folder: to write to.
        target: of the calibration.
        options: ``verb``, ``calibrate`` or ``tune``, and options of the verb.

    Returns:
        The message where it was refused; None where all is well.

    Raises:
        AssertionError: naming what is wrong.
        Exception: whatever else distq raised.
    """
    verb = getattr(distq, options.pop("verb", "calibrate"))
    (folder / "network.onnx").write_bytes(drawn.model.SerializeToString())
    np.savez(folder / "samples.npz", **drawn.samples)
    options = {"samples": len(results), "tune_samples": len(results), "holdout": 0, **options}
    if verb is distq.calibrate:
        del options["tune_samples"]
    try:
        found = verb(
            model=folder / "network.onnx",
            data=folder / "samples.npz",
            out=folder / "run",
            executor="local",
            target=target,
            **options,
        )
    except InputError as error:
        refusal = str(error)
    else:
        refusal = None
    if refusal is not None:
        assert "\n" not in refusal, f"several lines: {refusal}"
        return refusal
    made = onnx.load_model(folder / "run" / "model.int8.onnx")
    onnx.checker.check_model(made)
    _check_interface(drawn.model, made)
    outputs = [run_optimized(made, drawn.feeds(i)) for i in range(len(results))]
    _check_places(results, outputs)
    if drawn.open_batch:
        _check_larger_batch(drawn, made)
    if options.get("method") in CLOSEST:
        _check_closeness(drawn, results, outputs)
    _check_report(found, results, outputs)
    return None


def _facts(value):
    tensor = value.type.tensor_type
    dims = [d.dim_param or (d.dim_value if d.dim_value > 0 else "?") for d in tensor.shape.dim]
    return value.name, tensor.elem_type, dims, value.doc_string


def _texts(model):
    return (
        model.doc_string,
        model.graph.doc_string,
        model.graph.name,
        {p.key: p.value for p in model.metadata_props},
    )


def _check_interface(given, made):
    _same(_facts_of(made, made.graph.input), _facts_of(given, given.graph.input), "inputs")
    _same(_facts_of(made, made.graph.output), _facts_of(given, given.graph.output), "outputs")
    _same(_texts(made), _texts(given), "texts")


def _facts_of(model, values):
    constants = {t.name for t in model.graph.initializer}
    return [_facts(v) for v in values if v.name not in constants]


def _same(found, wanted, what):
    assert found == wanted, f"{what}: {wanted} became {found}"


def _check_places(results, outputs):
    for wanted, found in zip(results, outputs, strict=True):
        assert list(found) == list(wanted), "names of outputs"
        for name, array in wanted.items():
            assert found[name].shape == array.shape, f"shape of {name}"
            assert found[name].dtype == array.dtype, f"type of {name}"
            if array.dtype.kind == "f":
                assert np.isfinite(found[name]).all(), f"{name} is not finite"


def _check_larger_batch(drawn, made):
    """What the given model runs with a larger batch, the made one does."""
    feeds = drawn.feeds(0)
    told = {v.name: v.type.tensor_type.shape.dim for v in drawn.model.graph.input}
    for name, array in feeds.items():
        if told[name] and (told[name][0].dim_param or told[name][0].dim_value < 0):
            feeds[name] = np.repeat(array, LARGER_BATCH, axis=0)
    try:
        wanted = run_literally(drawn.model, feeds)
    except Exception:  # noqa: BLE001  # ONNX Runtime's errors share no root; the network takes one batch only
        return
    found = run_optimized(made, feeds)
    assert [a.shape for a in found.values()] == [a.shape for a in wanted.values()], "shapes of a larger batch"


def _floats(results):
    return [a.astype(np.float64) for r in results for a in r.values() if a.dtype.kind == "f"]


def _check_closeness(drawn, results, outputs):
    wanted = _floats(results)
    if sum(float((a**2).sum()) for a in wanted) == 0:
        return
    reached = sqnr(_floats(outputs), wanted)
    if reached >= CLOSE or any(node.op_type in JUMPS for node in drawn.model.graph.node):
        return
    noisy = noisy_sqnr(drawn, results)
    assert noisy < CLOSE or reached >= noisy - MARGIN, (
        f"{reached:.1f} dB, and {noisy:.1f} with noise of 8 bits"
    )


def noisy_sqnr(drawn, results):
    """Decibels of the network when each of its tensors has uniform noise of one step of 8 bits.

    A step is 1/255 of the range over the samples of what a node writes, and 1/127 of the largest constant.
    The worst of five draws. It tells a network that no 8 bits can keep from one that was quantized badly.
    """
    steps = _steps(drawn)
    return min(_once_noisy(drawn, results, steps, seed) for seed in range(5))


def _steps(drawn):
    names = [n for node in drawn.model.graph.node if node.op_type != "Constant" for n in node.output if n]
    model = onnx.ModelProto()
    model.CopyFrom(drawn.model)
    listed = {v.name for v in model.graph.output}
    model.graph.output.extend(helper.make_empty_tensor_value_info(n) for n in names if n not in listed)
    ranges, shapes = {}, {}
    for index in range(len(next(iter(drawn.samples.values())))):
        feeds = drawn.feeds(index)
        for name, array in {**run_literally(model, feeds), **feeds}.items():
            if array.dtype == np.float32 and array.size:
                low, high = ranges.get(name, (0.0, 0.0))
                ranges[name] = min(low, float(array.min())), max(high, float(array.max()))
                shapes[name] = array.shape
    return {name: ((high - low) / 255, shapes[name]) for name, (low, high) in ranges.items()}


def _once_noisy(drawn, results, steps, seed):
    rng = np.random.default_rng(seed)
    model = onnx.ModelProto()
    model.CopyFrom(drawn.model)
    graph, ends = model.graph, {v.name for v in model.graph.output}
    clean: dict[str, str] = {}
    nodes = []

    def spoil(name, source):
        step, shape = steps[name]
        noise = rng.uniform(-step / 2, step / 2, shape).astype(np.float32)
        graph.initializer.append(numpy_helper.from_array(noise, f"{name} noise"))
        nodes.append(
            helper.make_node("Add", [source, f"{name} noise"], [clean.setdefault(name, f"{name} noisy")])
        )

    for value in graph.input:
        if value.name in steps:
            spoil(value.name, value.name)
    for node in list(graph.node):
        node.input[:] = [clean.get(n, n) for n in node.input]
        nodes.append(node)
        for name in node.output:
            if name in steps and name not in ends and node.op_type != "Constant":
                spoil(name, name)
    for tensor in graph.initializer:
        if (
            tensor.data_type == TensorProto.FLOAT
            and len(tensor.dims) > 1
            and not tensor.name.endswith(" noise")
        ):
            array = numpy_helper.to_array(tensor)
            step = np.abs(array).max(initial=0) / 127
            noisy = array + rng.uniform(-step / 2, step / 2, array.shape).astype(np.float32)
            tensor.CopyFrom(numpy_helper.from_array(noisy, tensor.name))
    del graph.node[:]
    graph.node.extend(nodes)
    found = [run_literally(model, drawn.feeds(i)) for i in range(len(results))]
    noisy, wanted = _floats(found), _floats(results)
    return sqnr(noisy, wanted) if all(np.isfinite(a).all() for a in noisy) else -math.inf


def _check_report(found, results, outputs):
    """The report holds what the exported model's outputs are worth."""
    tuning = found.tuning
    report = tuning.after or tuning.before
    assert not math.isnan(report.sqnr_db), "the report is no number"
    if any("depends on the data" in text for text in found.warnings):
        return  # the report is about other tensors
    if len(results[0]) == 1 and (wanted := _floats(results)) and sum(float((a**2).sum()) for a in wanted):
        reached = sqnr(_floats(outputs), wanted)
        assert min(report.sqnr_db, 80) == pytest.approx(min(reached, 80), abs=0.1), (
            f"{report.sqnr_db} dB in the report, {reached} dB computed"
        )
