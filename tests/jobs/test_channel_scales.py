"""``--channel-scales``: a scale and zero point for each channel in front of depthwise layers."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from job_helpers import (
    SHAPE,
    SPREAD,
    Graph,
    Reference,
    bits,
    depthwise_network,
    evening_job,
    samples,
    write_model,
)

import distq
from distq.cli.app import invoke
from distq.engine.journal import Journal
from distq.errors import FileFormatError, UsageError
from distq.graph.patches import Geometry, patch_sums, sampled_patches
from distq.quant.scheme import Encoding, on_channels
from distq.quant.table import dump_table, read_table


def job(folder: Path, **more: Any) -> dict[str, Any]:
    options = evening_job(folder)
    del options["channel_scales"]
    return {**options, "method": "mse", **more}


def error(run: Path, folder: Path) -> float:
    """Squared error of the exported model against float, over samples it has not seen."""
    exported, exact = Reference(run / "model.int8.onnx"), Reference(folder / "model.onnx")
    unseen = samples(20)[12:]
    return float(sum(np.sum((exported(x) - exact(x)) ** 2) for x in unseen))


def by_channel(run: Path) -> dict[str, Any]:
    rows = json.loads((run / "thresholds.json").read_text())["tensors"]
    return {name: row["channels"] for name, row in rows.items() if "channels" in row}


def test_unlike_channels_gain_six_decibels(tmp_path: Path) -> None:
    runs = {on: tmp_path / f"run_{on}" for on in (False, True)}
    options = job(tmp_path)
    graph, spread = Graph(3), (3000, 30, 3, 1, 1, 1, 1, 1)
    unlike = graph.depthwise_blocks(1, spread)
    graph.conv(unlike, (8, 8), "y", group=8, gain=[1 / factor for factor in spread])
    write_model(tmp_path / "model.onnx", graph.model({"y": (1, 8, *SHAPE[1:])}))
    for on, out in runs.items():
        distq.calibrate(**options, out=out, channel_scales=on)
    assert by_channel(runs[False]) == {}
    assert set(by_channel(runs[True])) == {"pointwise0"}
    assert error(runs[True], tmp_path) * 4 < error(runs[False], tmp_path)
    nodes = {n.name: n for n in onnx.load(runs[True] / "model.int8.onnx").graph.node}
    for kind in ("quantize", "dequantize"):
        assert nodes[f"pointwise0_{kind}"].attribute[0].i == 1
        assert not nodes[f"x_{kind}"].attribute


def test_alike_channels_keep_one_scale_and_the_same_bytes(tmp_path: Path) -> None:
    options = job(tmp_path)
    write_model(tmp_path / "model.onnx", depthwise_network())
    for on in (False, True):
        distq.calibrate(**options, out=tmp_path / f"run_{on}", channel_scales=on)
    for name in ("model.int8.onnx", "thresholds.json"):
        assert (tmp_path / "run_True" / name).read_bytes() == (tmp_path / "run_False" / name).read_bytes()


def test_search_and_budget_leave_them_alone(tmp_path: Path) -> None:
    run = tmp_path / "run"
    distq.tune(**job(tmp_path, out=run, equalize=False, effort=1, int16_budget=1))
    calibrated = json.loads((run / "thresholds.calibrated.json").read_text())["tensors"]
    found = json.loads((run / "thresholds.json").read_text())["tensors"]
    kept = {name: row for name, row in calibrated.items() if "channels" in row}
    assert kept
    for name, row in kept.items():
        assert found[name] == row or found[name]["bits"] == 16
        assert ("channels" in found[name]) == (found[name]["bits"] == 8)


def test_channels_are_evened_out_in_place_of_them_where_that_is_closer_to_float(tmp_path: Path) -> None:
    found = distq.tune(**job(tmp_path, out=tmp_path / "run", effort=1, equalize=True))
    with Journal(found.out / "journal.jsonl") as journal:
        notes = journal.notes("channels")
    assert "evened out, in place of scales by channel" in {n for note in notes for n in note["names"]}
    in_place = notes[-1]["chosen"] == "evened out, in place of scales by channel"
    assert bool(by_channel(found.out)) != in_place


def test_they_are_the_default_of_a_target_that_takes_them(tmp_path: Path) -> None:
    options = job(tmp_path)
    run, out = tmp_path / "run", tmp_path / "ort"
    distq.calibrate(**options, out=run)
    assert by_channel(run)
    distq.calibrate(**{**options, "target": "ort"}, out=out)
    assert by_channel(out) == {}
    with pytest.raises(UsageError, match="takes one scale a tensor: leave out --channel-scales"):
        distq.calibrate(**{**options, "target": "tensorrt", "channel_scales": True}, out=tmp_path / "refused")
    with pytest.raises(UsageError, match="channel_scales"):
        distq.calibrate(**{**options, "channel_scales": False}, out=run, resume=True)
    assert distq.calibrate(**options, out=run, resume=True).holdout is not None


@pytest.mark.parametrize("scheme", ["auto", "symmetric"])
def test_a_table_of_them_makes_the_same_network_again(scheme: str, tmp_path: Path) -> None:
    options = job(tmp_path, scheme=scheme)
    run, again = tmp_path / "run", tmp_path / "again"
    distq.calibrate(**options, out=run)
    kept = by_channel(run)
    assert kept
    distq.calibrate(**options, table=run / "thresholds.json", out=again)
    assert by_channel(again) == kept
    assert bits(again) == bits(run)
    with pytest.raises(UsageError, match="leave out --channel-scales or --table"):
        distq.calibrate(
            **options, channel_scales=True, table=run / "thresholds.json", out=tmp_path / "refused"
        )
    known = {name: options[name] for name in ("model", "data", "executor") if name in options}
    assert distq.diff(**known, table=run / "thresholds.json").network.sqnr_db is not None


@pytest.mark.parametrize("change", ["fewer channels", "no channels", "another tensor", "zero point"])
def test_a_table_with_scales_of_other_channels_is_refused(change: str, tmp_path: Path) -> None:
    options = job(tmp_path)
    run = distq.calibrate(**options, out=tmp_path / "run").out
    content = json.loads((run / "thresholds.json").read_text())
    rows = content["tensors"]
    name = next(iter(by_channel(run)))
    other = next(one for one in rows if one.startswith("depthwise"))
    if change == "fewer channels":
        rows[name]["channels"].pop()
    elif change == "no channels":
        rows[name]["channels"] = []
    elif change == "another tensor":
        rows[other]["channels"] = rows[name]["channels"]
    else:
        rows[name]["channels"][0][1] = 256
    (tmp_path / "changed.json").write_text(json.dumps(content))
    with pytest.raises(FileFormatError, match=other if change == "another tensor" else name):
        distq.calibrate(**options, table=tmp_path / "changed.json", out=tmp_path / "refused")
    assert not (tmp_path / "refused").exists()


def test_the_report_says_what_the_channels_have(tmp_path: Path) -> None:
    run = distq.calibrate(**job(tmp_path, out=tmp_path / "run", report=True))
    for name, row in by_channel(run.out).items():
        assert f"a scale for each of {len(row)} channels" in (run.out / "report.html").read_text(), name


def test_where_there_is_one_scale_the_whole_range_stands(tmp_path: Path) -> None:
    options = job(tmp_path)
    run = tmp_path / "run"
    distq.calibrate(**options, out=run)
    rows = read_table(run / "thresholds.json")
    wide = next(name for name in rows if name in by_channel(run))
    off = distq.calibrate(
        **options, table=run / "thresholds.json", channel_scales=False, out=tmp_path / "off"
    )
    assert by_channel(off.out) == {}
    assert read_table(off.out / "thresholds.json")[wide].threshold == rows[wide].threshold
    written = distq.convert(run, to="tpu-mlir", out=tmp_path / "table")
    assert any("no scales by channel: the whole range for" in line for line in written.warnings)
    own = distq.convert(run, to="distq", out=tmp_path / "own.json")
    assert own.warnings == ()
    assert read_table(tmp_path / "own.json") == rows


def test_a_table_of_them_reads_as_it_was_written(tmp_path: Path) -> None:
    row = {
        "threshold": 2.0,
        "min": 0.0,
        "max": 2.0,
        "observed_min": 0.0,
        "observed_max": 1.5,
        "bits": 8,
        "signed": False,
        "scale": 0.0078125,
        "zero_point": 0,
        "convention": "255",
        "method": "channels",
        "tied_to": None,
        "channels": [[0.0078125, 0], [0.5, 3]],
    }
    content = {"format": "distq-thresholds-1", "tensors": {"a": row}}
    path = tmp_path / "thresholds.json"
    path.write_text(json.dumps(content, indent=1) + "\n")
    table = read_table(path)
    assert table["a"].encoding == Encoding((0.0078125, 0.5), (0, 3), 8, signed=False)
    assert dump_table(table) == path.read_bytes()


def test_bias_steps_are_those_of_the_channels(tmp_path: Path) -> None:
    run = tmp_path / "run"
    distq.calibrate(**job(tmp_path, out=run, channel_scales=True))
    model = onnx.load(run / "model.int8.onnx")
    numbers = {t.name: onnx.numpy_helper.to_array(t) for t in model.graph.initializer}
    scale, zero = numbers["pointwise1_scale"], numbers["pointwise1_zero_point"]
    assert scale.shape == zero.shape == (len(SPREAD),)
    layer = next(
        n.removesuffix("_weight_scale")
        for n in numbers
        if n.startswith("depthwise2") and n.endswith("_weight_scale")
    )
    weight, bias = numbers[f"{layer}_weight_scale"], numbers[f"{layer}_bias_scale"]
    np.testing.assert_array_equal(bias, scale * weight)


def test_corrections_read_what_onnx_runtime_dequantizes() -> None:
    rng = np.random.default_rng(3)
    data = rng.integers(0, 256, (1, 4, 5, 5)).astype(np.uint8)
    scale, zero = (0.5, 0.25, 2.0, 0.0078125), (0, 17, 255, 128)
    numbers = {"s": np.array(scale, np.float32), "z": np.array(zero, np.uint8)}
    node = onnx.helper.make_node("DequantizeLinear", ["x", "s", "z"], ["y"], axis=1)
    infos = [
        onnx.helper.make_tensor_value_info(name, kind, data.shape)
        for name, kind in (("x", onnx.TensorProto.UINT8), ("y", onnx.TensorProto.FLOAT))
    ]
    held = [onnx.numpy_helper.from_array(array, name) for name, array in numbers.items()]
    made = onnx.helper.make_graph([node], "dequantize", infos[:1], infos[1:], held)
    model = onnx.helper.make_model(made, opset_imports=[onnx.helper.make_opsetid("", 13)], ir_version=8)
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    real = session.run(None, {"x": data})[0]
    geometry = Geometry("Conv", (1, 1), (1, 1), (1, 1), (0,) * 4, "NOTSET", (0, 0), 4)
    patches = sampled_patches(geometry, data, zero, 25, 0)[:, :, 0]
    np.testing.assert_array_equal(patches.T * numbers["s"][:, None], real[0].reshape(4, 25))
    sums, positions = patch_sums(geometry, data[0].astype(np.float64), 1, zero)
    np.testing.assert_array_equal(sums * on_channels(scale, sums.ndim), real[0].sum((1, 2))[:, None, None])
    assert positions == 25


def test_auto_gives_them_to_every_network_that_it_makes(tmp_path: Path) -> None:
    options = {**job(tmp_path, channel_scales=True, effort=1, goal="sqnr:45"), "out": tmp_path / "run"}
    found = distq.auto(**options)
    assert found.auto is not None
    assert found.auto.answer.layers > 0
    assert by_channel(found.out)
    assert invoke(["run", str(found.out / "chosen.yaml"), "--quiet"]) == 0
    assert bits(found.out / "chosen") == bits(found.out)


@pytest.mark.parametrize("between", [None, "Relu", "Transpose"])
def test_onnx_runtime_runs_them_where_quantizers_stand_right_behind_layers(
    between: str | None, tmp_path: Path
) -> None:
    """Its fused convolution refuses scales by channel as it runs."""
    graph, gain = Graph(5), [3000, 30, 3, 1, 1, 1, 1, 1]
    first = graph.conv("x", (SHAPE[0], 8), "first", gain=gain)
    second = graph.conv(first, (8, 8), "second", group=8, gain=[1 / factor for factor in gain])
    if between is not None:
        perm = {"perm": [0, 1, 3, 2]} if between == "Transpose" else {}
        second = graph.add(between, [second], "between", **perm)
    graph.conv(second, (8, 8), "y")
    write_model(tmp_path / "model.onnx", graph.model({"y": (1, 8, *SHAPE[1:])}))
    np.save(tmp_path / "data.npy", samples(12))
    run = tmp_path / "run"
    files = {"model": tmp_path / "model.onnx", "data": tmp_path / "data.npy"}
    distq.calibrate(**files, out=run, target="openvino", method="mse", executor="local")
    assert set(by_channel(run)) == {"first"}
    session = onnxruntime.InferenceSession(run / "model.int8.onnx", providers=["CPUExecutionProvider"])
    unseen = samples(20)[12:]
    exact = Reference(tmp_path / "model.onnx")
    for x in unseen:
        found = session.run(None, {"x": x[None]})[0]
        assert np.sum((found - exact(x)) ** 2) < 0.01 * np.sum(exact(x) ** 2)
