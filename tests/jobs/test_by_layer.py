"""Settings by layer, float islands, groups, and shapes of inputs, from the command line to RUN."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import yaml
from job_helpers import (
    CLASSES,
    Graph,
    Reference,
    calibrate,
    depthwise_network,
    read_json,
    samples,
    thresholds,
    write_model,
)

import distq
from distq.cli.app import invoke
from distq.errors import UsageError

TARGETS = ("ort", "openvino", "tensorrt")


def config(folder: Path, **entries: dict[str, Any]) -> Path:
    path = folder / "layers.yaml"
    path.write_text(yaml.safe_dump(entries, sort_keys=False))
    return path


def floats(run: Path) -> dict[str, str]:
    return {layer["name"]: layer["reason"] for layer in read_json(run / "run.json")["float_layers"]}


def layer_names(run: Path) -> set[str]:
    """Layers with integer weights in the exported model."""
    graph = onnx.load(run / "model.int8.onnx").graph
    return {
        t.name.removesuffix("_weight_quantized") for t in graph.initializer if "_weight_quantized" in t.name
    }


def close(run: Path, model: Path, data: Path) -> bool:
    """Whether the exported model is close to the float one on every sample."""
    exported, exact = Reference(run / "model.int8.onnx"), Reference(model)
    for sample in np.load(data):
        wanted = exact(sample)
        if np.linalg.norm(exported(sample) - wanted) > 0.2 * np.linalg.norm(wanted):
            return False
    return True


@pytest.mark.parametrize("target", TARGETS)
def test_what_a_file_fixes_is_in_the_table_and_is_not_searched(
    target: str, model: Path, data: Path, tmp_path: Path
) -> None:
    layers = config(tmp_path, first={"threshold": 2.5}, x={"method": "max", "scale": 1.5})
    found = distq.tune(
        model=model,
        data=data,
        out=tmp_path / "run",
        layer_config=layers,
        target=target,
        method="max",
        samples=4,
        tune_samples=2,
        executor="local",
    )
    rows = thresholds(tmp_path / "run")
    assert (rows["first"]["threshold"], rows["first"]["max"]) == (2.5, 2.5)
    assert rows["first"]["method"] == "fixed"
    assert rows["x"]["threshold"] == pytest.approx(
        1.5 * max(rows["x"]["observed_max"], -rows["x"]["observed_min"]), rel=1e-2
    )
    assert rows["x"]["max"] > 1.1 * rows["x"]["observed_max"]
    assert "first" not in {layer.name for layer in found.layers}


def test_methods_by_pattern_and_a_range(model: Path, data: Path, tmp_path: Path) -> None:
    layers = config(tmp_path, **{"s*": {"method": "max"}, "first": {"min": -1, "max": 4}, "x": {"bits": 16}})
    calibrate(model, data, tmp_path / "run", method="kl", layer_config=layers)
    rows = thresholds(tmp_path / "run")
    assert {rows[name]["method"] for name in ("second", "scores")} == {"max"}
    assert (rows["first"]["min"], rows["first"]["max"]) == (0.0, 4.0)  # a Relu writes nothing below 0
    assert (rows["x"]["bits"], rows["first"]["bits"]) == (16, 8)


def test_a_table_keeps_what_was_scaled_and_gives_way_to_what_is_fixed(
    model: Path, data: Path, tmp_path: Path
) -> None:
    layers = config(tmp_path, second={"scale": 1.5, "method": "max"})
    calibrate(model, data, tmp_path / "run", layer_config=layers)
    scaled = thresholds(tmp_path / "run")["second"]
    table = tmp_path / "run" / "thresholds.json"
    calibrate(model, data, tmp_path / "again", layer_config=layers, table=table)
    assert thresholds(tmp_path / "again")["second"]["max"] == scaled["max"]
    fixed = config(tmp_path, second={"threshold": 1.25})
    calibrate(model, data, tmp_path / "fixed", layer_config=fixed, table=table)
    assert thresholds(tmp_path / "fixed")["second"]["max"] == 1.25


def test_thresholds_alone_follow_the_settings(model: Path, data: Path, tmp_path: Path) -> None:
    calibrate(model, data, tmp_path / "run", method="max")
    kept = tmp_path / "run" / "distributions.npz"
    layers = config(tmp_path, second={"threshold": 1.25}, first={"method": "kl"})
    options: dict[str, Any] = {"layer_config": layers, "load_dist": kept, "float_outputs": "scores"}
    calibrate(model, None, tmp_path / "alone", **options)
    rows = thresholds(tmp_path / "alone")
    assert (rows["second"]["threshold"], rows["first"]["method"]) == (1.25, "kl")
    assert "scores" not in rows
    layers.write_text("second: {threshold: 2}\n")
    with pytest.raises(UsageError, match="its layer_config is"):
        calibrate(model, None, tmp_path / "alone", **options, resume=True)


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize(
    ("option", "value", "kept"),
    [
        ("float_layers", "*wise1", {"depthwise1", "pointwise1"}),
        ("float_inputs", "pointwise0", {"depthwise0", "pointwise0"}),
        ("float_outputs", "pointwise1", {"pointwise1", "depthwise2", "pointwise2", "scores"}),
        ("float_blocks", "pointwise2", {"pointwise2", "scores"}),
        ("float_depthwise", True, {f"depthwise{i}" for i in range(3)}),
    ],
)
def test_islands_stay_float_and_say_why(  # noqa: PLR0917  # as pytest calls it
    target: str, option: str, value: Any, kept: set[str], data: Path, tmp_path: Path
) -> None:
    model = write_model(tmp_path / "model.onnx", depthwise_network(blocks=3))
    calibrate(model, data, tmp_path / "run", target=target, method="max", samples=4, **{option: value})
    layers = {f"{kind}{i}" for kind in ("depthwise", "pointwise") for i in range(3)} | {"scores"}
    assert layer_names(tmp_path / "run") == layers - kept
    why = f"kept in float by --{option.replace('_', '-')}"
    reasons = {name for name, reason in floats(tmp_path / "run").items() if reason.startswith(why)}
    assert reasons >= kept
    assert close(tmp_path / "run", model, data)


def test_a_search_and_budgets_leave_islands_and_fixed_layers_alone(data: Path, tmp_path: Path) -> None:
    model = write_model(tmp_path / "model.onnx", depthwise_network(blocks=2))
    layers = config(tmp_path, pointwise0={"threshold": 3}, pointwise1={"bits": 8}, depthwise1={"float": True})
    found = distq.tune(
        model=model,
        data=data,
        out=tmp_path / "run",
        layer_config=layers,
        method="max",
        samples=4,
        tune_samples=2,
        int16_budget=6,
        float_budget=2,
        effort=1,
        executor="local",
    )
    last = found.curve[-1]
    assert set(last.int16) <= {"x", "depthwise0", "average", "scores"}
    assert last.int16
    assert len(last.float_layers) == 2
    assert "depthwise1" not in last.float_layers
    table = thresholds(tmp_path / "run")
    assert table.get("pointwise0", {"threshold": 3})["threshold"] == 3
    why = floats(tmp_path / "run")["depthwise1"]
    assert why == "kept in float by entry depthwise1 of --layer-config"


@pytest.mark.parametrize("strategy", ["bitmain", "tpu-mlir"])
def test_the_vendors_rules_take_them_too(strategy: str, model: Path, data: Path, tmp_path: Path) -> None:
    layers = config(tmp_path, second={"threshold": 2})
    found = distq.tune(
        model=model,
        data=data,
        out=tmp_path / "run",
        layer_config=layers,
        float_layers="first",
        strategy=strategy,
        method="max",
        samples=2,
        tune_samples=2,
        executor="local",
    )
    assert "first" not in layer_names(tmp_path / "run")
    assert thresholds(tmp_path / "run")["second"]["threshold"] == 2
    assert {"second", "x"}.isdisjoint(layer.name for layer in found.layers)


def test_sensitivity_and_diff_take_the_same_settings(data: Path, tmp_path: Path, capsys: Any) -> None:
    model = write_model(tmp_path / "model.onnx", depthwise_network(blocks=1))
    calibrate(model, data, tmp_path / "run", method="max", samples=4, float_depthwise=True)
    table = tmp_path / "run" / "thresholds.json"
    command = f"diff {model} --table {table} --data {data} --executor local --sensitivity --json"
    assert invoke([*command.split(), "--float-depthwise"]) == 0
    tensors = {row["tensor"] for row in json.loads(capsys.readouterr().out)["tensors"]}
    rows = thresholds(tmp_path / "run")
    assert tensors == {name for name, row in rows.items() if row["tied_to"] is None} - {"scores"}


def grouped_network() -> onnx.ModelProto:
    """Sixteen channels of two magnitudes, evened out again by a depthwise layer."""
    graph, spread = Graph(3), [1.0] * 8 + [0.02] * 8
    first = graph.add("Relu", [graph.conv("x", (3, 16), "first_sums", gain=spread)], "first")
    back = [1 / gain for gain in spread]
    second = graph.conv(first, (16, 16), "second_sums", group=16, gain=back)
    graph.add("GlobalAveragePool", [graph.add("Relu", [second], "second")], "average")
    graph.gemm(graph.add("Flatten", ["average"], "flat"), (16, CLASSES), "scores")
    return graph.model({"scores": (1, CLASSES)})


@pytest.mark.parametrize("target", TARGETS)
def test_groups_have_thresholds_of_their_own_and_help_one_weight_scale(
    target: str, data: Path, tmp_path: Path
) -> None:
    model = write_model(tmp_path / "model.onnx", grouped_network())
    options: dict[str, Any] = {"target": target, "method": "max", "samples": 4, "per_tensor_weights": True}
    whole = calibrate(model, data, tmp_path / "whole", **options)
    parts = calibrate(model, data, tmp_path / "parts", **options, conv_groups=2)
    own = thresholds(tmp_path / "parts")
    assert own["first_group0"]["threshold"] > 5 * own["first_group1"]["threshold"]
    assert layer_names(tmp_path / "parts") >= {"first_group0", "second_group1"}
    assert whole.holdout is not None
    assert parts.holdout is not None
    assert parts.holdout.before.sqnr_db > whole.holdout.before.sqnr_db + 3
    table = tmp_path / "parts" / "thresholds.json"
    other = tmp_path / "whole" / "thresholds.json"
    with pytest.raises(UsageError, match="is of a run with another --conv-groups"):
        calibrate(model, data, tmp_path / "other", table=other, **options, conv_groups=2)
    assert calibrate(model, data, tmp_path / "again", table=table, **options, conv_groups=2).holdout


def test_groups_and_one_scale_by_layer(data: Path, tmp_path: Path) -> None:
    model = write_model(tmp_path / "model.onnx", grouped_network())
    layers = config(tmp_path, first={"groups": 2}, second={"weights": "per_tensor"})
    calibrate(model, data, tmp_path / "run", layer_config=layers)
    graph = onnx.load(tmp_path / "run" / "model.int8.onnx").graph
    sizes = {t.name: list(t.dims) for t in graph.initializer if t.name.endswith("_weight_scale")}
    assert sizes == {
        "first_group0_weight_scale": [8],
        "first_group1_weight_scale": [8],
        "second_group0_weight_scale": [],
        "second_group1_weight_scale": [],
        "scores_weight_scale": [CLASSES],
    }


def test_an_open_dimension_is_fixed_in_all_that_comes_of_it(tmp_path: Path) -> None:
    graph = Graph(1)
    graph.conv("x", (3, 4), "y")
    proto = graph.model({"y": ("N", 4, "H", "W")}, {"x": ("N", 3, "H", "W")})
    model = write_model(tmp_path / "model.onnx", proto)
    np.save(tmp_path / "data.npy", samples())
    job = {
        "command": "calibrate",
        "model": "model.onnx",
        "data": "data.npy",
        "out": "run",
        "executor": "local",
        "input_shape": {"x": [1, 3, 8, 8]},
    }
    (tmp_path / "job.yaml").write_text(yaml.safe_dump(job))
    assert invoke(["run", str(tmp_path / "job.yaml"), "--quiet"]) == 0
    exported = onnx.load(tmp_path / "run" / "model.int8.onnx").graph
    assert [d.dim_value for d in exported.input[0].type.tensor_type.shape.dim] == [1, 3, 8, 8]
    assert [d.dim_value for d in exported.output[0].type.tensor_type.shape.dim] == [1, 4, 8, 8]
    command = f"eval {model} --against {model} --data {tmp_path / 'data.npy'} --executor local --quiet"
    assert invoke([*command.split(), "--input-shape", "x=1,3,8,8"]) == 0


PROTOTXT = """
layer { name: "first" type: "Convolution" top: "first" threshold: 2.5 }
layer { name: "first_bn" type: "BatchNorm" top: "first" th_scale: 1.1 }
layer { name: "second" type: "Convolution" top: "second" forward_with_float: true }
"""


def test_a_prototxt_gives_settings_for_the_layers_that_are_left(
    model: Path, data: Path, tmp_path: Path
) -> None:
    path = tmp_path / "net.prototxt"
    path.write_text(PROTOTXT)
    found = calibrate(model, data, tmp_path / "run", layer_config=path)
    assert thresholds(tmp_path / "run")["first"]["threshold"] == 2.5
    assert "second" not in layer_names(tmp_path / "run")
    assert [w for w in found.warnings if "first_bn has no threshold of its own" in w]


Entries = dict[str, dict[str, Any]]

BAD: list[tuple[str, str, Entries]] = [
    ("", "entry frist matches no layer of the model; the nearest is first", {"frist": {"method": "kl"}}),
    ("", "entry conv* matches no layer of the model", {"conv*": {"float": True}}),
    (
        "",
        "entries first and f* give first method kl and max: leave one",
        {"first": {"method": "kl"}, "f*": {"method": "max"}},
    ),
    (
        "",
        "entries first and f* set threshold and method of first",
        {"first": {"threshold": 1}, "f*": {"method": "max"}},
    ),
    ("", "entries f* and first give first bits 8 and 16", {"f*": {"bits": 8}, "first": {"bits": 16}}),
    (
        "--int16-layers first",
        "--int16-layers and --layer-config give first 16 and 8 bits",
        {"first": {"bits": 8}},
    ),
    ("", "entry scores matches no layer of the model that can have groups", {"scores": {"groups": 2}}),
    (
        "",
        "entry average matches no layer of the model that can have weights",
        {"average": {"weights": "per_tensor"}},
    ),
    (
        "--target openvino",
        "entry scores sets method, and no quantizer stands behind it with --target openvino",
        {"scores": {"method": "kl"}},
    ),
    ("--target tensorrt", "has no 16-bit activations", {"first": {"bits": 16}}),
    (
        "--layers first",
        "--layers names first, whose threshold --layer-config fixes",
        {"first": {"threshold": 2}},
    ),
    (
        "--float-layers frist",
        "--float-layers names frist, which is no layer of the model; the nearest is",
        {},
    ),
    ("--float-blocks x", "--float-blocks names x, which is no layer of the model", {}),
    ("--float-inputs scores", "leaves no layer in INT8", {}),
    ("--float-blocks ,", "--float-blocks ,: names nothing", {}),
    ("--conv-groups 1", "--conv-groups 1: input should be greater", {}),
    ("--concat never", "--concat", {}),
    ("--target openvino --concat tie", "--target openvino has no quantizers around a Concat", {}),
    ("--input-shape 1,3,8,8", "--input-shape 1,3,8,8: give NAME=1,3,640,640", {}),
    ("--input-shape x=1,3,8,0", "--input-shape x=1,3,8,0: input should be NAME=1,3,640,640", {}),
    ("--input-shape x=", "--input-shape x=: input should be NAME=1,3,640,640", {}),
    ("--input-shape x=1,4,8,8", "does not fit", {}),
    ("--input-shape image=1,3,8,8", "image, which is no input", {}),
    ("--layer-config none.yaml", "--layer-config none.yaml cannot be read", {}),
    ("--layer-config net.prototxt", "cannot read the network net.prototxt", {}),
]


@pytest.mark.parametrize(("options", "words", "entries"), BAD, ids=[words for _, words, _ in BAD])
def test_what_cannot_be_is_one_line_and_leaves_no_run(  # noqa: PLR0917  # as pytest calls it
    options: str,
    words: str,
    entries: Entries,
    model: Path,
    data: Path,
    tmp_path: Path,
    capsys: Any,
) -> None:
    command = ["tune", str(model), "--data", str(data), "--out", str(tmp_path / "run"), "--executor", "local"]
    if entries:
        command += ["--layer-config", str(config(tmp_path, **entries))]
    assert invoke([*command, *options.split()]) == 2
    error = capsys.readouterr().err
    assert words in error
    assert error.count("\n") == 1
    assert not (tmp_path / "run").exists()


def test_tensors_that_share_a_threshold_cannot_have_two(data: Path, tmp_path: Path) -> None:
    graph = Graph(1)
    first = graph.add(
        "MaxPool", [graph.conv("x", (3, 4), "first")], "pooled", kernel_shape=[2, 2], strides=[2, 2]
    )
    graph.conv(first, (4, 2), "y")
    model = write_model(tmp_path / "model.onnx", graph.model({"y": (1, 2, 4, 4)}))
    layers = config(tmp_path, first={"threshold": 2}, pooled={"threshold": 3})
    with pytest.raises(UsageError, match="first and pooled share one threshold"):
        calibrate(model, data, tmp_path / "run", layer_config=layers)
