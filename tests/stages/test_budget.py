"""``tune --int16-budget --float-budget``."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from budget_networks import one_bad_layer, one_wide_tensor
from job_helpers import (
    bits,
    depthwise_network,
    read_json,
    samples,
    three_layers,
    thresholds,
    use_watched,
    write_model,
)

import distq
from distq.cli.app import invoke
from distq.errors import InterruptedRun, UsageError
from distq.run.results import RunResult

pytestmark = [
    pytest.mark.parametrize("target", ["ort", "openvino"]),
    pytest.mark.usefixtures("eight_bits"),
]


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("budget")
    write_model(folder / "wide.onnx", one_wide_tensor())
    write_model(folder / "bad.onnx", one_bad_layer())
    write_model(folder / "three.onnx", three_layers(12))
    write_model(folder / "depthwise.onnx", depthwise_network(14))
    np.save(folder / "data.npy", samples(16))
    return folder


def tune(place: Path, name: str, out: Path, **options: Any) -> RunResult:
    """Without equalization, scales by channel and clipping, which mend a wide tensor by themselves."""
    given = {
        "samples": 8,
        "method": "max",
        "equalize": False,
        "channel_scales": False,
        "effort": 1,
        **options,
    }
    return distq.tune(
        model=place / f"{name}.onnx", data=place / "data.npy", out=out, executor="local", **given
    )


def test_the_tensor_of_huge_range_gets_16_bits_and_sqnr_rises(
    place: Path, tmp_path: Path, target: str
) -> None:
    plain = tune(place, "wide", tmp_path / "plain", target=target)
    found = tune(place, "wide", tmp_path / "run", target=target, int16_budget=1)
    assert [point.int16 for point in found.curve] == [(), ("wide",)]
    assert found.holdout is not None
    assert found.holdout.after is not None
    assert plain.holdout is not None
    assert plain.holdout.after is not None
    assert found.holdout.after.sqnr_db > plain.holdout.after.sqnr_db + 6
    rows = thresholds(tmp_path / "run")
    assert {name: row["bits"] for name, row in rows.items() if row["bits"] != 8} == {"wide": 16}
    assert rows["wide"]["max"] == rows["wide"]["observed_max"]


def test_the_curve_goes_up_and_ends_with_the_model_that_is_written(
    place: Path, tmp_path: Path, target: str
) -> None:
    found = tune(place, "wide", tmp_path / "run", target=target, int16_budget=2)
    curve = read_json(tmp_path / "run" / "metrics.json")["curve"]
    assert [set(point) for point in curve] == [{"budget", "int16", "float_layers", "nmse", "sqnr_db"}] * 3
    assert [point["budget"] for point in curve] == [0, 1, 2]
    assert curve[2]["int16"][:1] == curve[1]["int16"] == ["wide"]
    assert curve[1]["nmse"] < curve[0]["nmse"] / 4
    assert found.tuning is not None
    assert found.tuning.after is not None
    assert curve[2]["nmse"] == found.tuning.after.nmse
    assert read_json(tmp_path / "run" / "run.json")["budget"] == {
        "int16": curve[2]["int16"],
        "float_layers": [],
    }


def test_the_layer_whose_weights_round_off_stays_float(place: Path, tmp_path: Path, target: str) -> None:
    found = tune(place, "bad", tmp_path / "run", target=target, float_budget=1)
    assert [point.float_layers for point in found.curve] == [(), ("bad",)]
    assert found.curve[1].sqnr_db > found.curve[0].sqnr_db + 6
    assert ("bad", "kept in float by --float-budget") in {(f.name, f.reason) for f in found.float_layers}
    graph = onnx.load(tmp_path / "run" / "model.int8.onnx").graph
    (conv,) = [node for node in graph.node if "bad" in node.output or "bad_before_quantizer" in node.output]
    assert conv.input[1] in {t.name for t in graph.initializer if t.data_type == onnx.TensorProto.FLOAT}


def test_both_budgets_are_spent_16_bits_first(place: Path, tmp_path: Path, target: str) -> None:
    found = tune(place, "wide", tmp_path / "run", target=target, int16_budget=1, float_budget=1)
    assert [(len(p.int16), len(p.float_layers)) for p in found.curve] == [(0, 0), (1, 0), (1, 1)]


def test_a_tensor_that_only_a_float_layer_reads_is_not_named(
    place: Path, tmp_path: Path, target: str
) -> None:
    name = {"ort": "three", "openvino": "depthwise"}[target]
    other = {"method": "mse", "effort": 3, "equalize": True} if target == "ort" else {}
    options = {"int16_budget": 1, "float_budget": 1, **other}
    found = tune(place, name, tmp_path / "run", target=target, **options)
    assert [(p.budget, len(p.int16), len(p.float_layers)) for p in found.curve] == [
        (0, 0, 0),
        (1, 1, 0),
        (2, 0, 1),
    ]
    assert read_json(tmp_path / "run" / "run.json")["budget"]["int16"] == []
    assert {row["bits"] for row in thresholds(tmp_path / "run").values()} == {8}


def test_without_a_budget_there_is_no_curve(place: Path, tmp_path: Path, target: str) -> None:
    found = tune(place, "wide", tmp_path / "run", target=target)
    assert found.curve == ()
    assert "curve" not in read_json(tmp_path / "run" / "metrics.json")
    assert {row["bits"] for row in thresholds(tmp_path / "run").values()} == {8}


def test_a_finished_run_gives_its_curve_again(place: Path, tmp_path: Path, target: str) -> None:
    first = tune(place, "wide", tmp_path / "run", target=target, int16_budget=1)
    again = tune(place, "wide", tmp_path / "run", target=target, int16_budget=1, resume=True)
    assert again.curve == first.curve


def test_the_same_bits_with_other_shards(place: Path, tmp_path: Path, target: str) -> None:
    for size in (2, 5):
        tune(
            place,
            "wide",
            tmp_path / str(size),
            target=target,
            int16_budget=1,
            float_budget=1,
            shard_size=size,
        )
    assert bits(tmp_path / "2") == bits(tmp_path / "5")


@pytest.mark.parametrize(
    ("options", "named"),
    [
        (["--float-budget", "4"], "leaves none of the model's 4 layers in INT8"),
        (["--int16-budget", "1", "--strategy", "bitmain"], "need --strategy default"),
        (["--int16-budget", "-1"], "--int16-budget -1"),
        (["--int16-budget", "1", "--target", "tensorrt"], "tensorrt has no 16-bit activations"),
    ],
)
def test_a_budget_that_cannot_be_spent_exits_2(  # noqa: PLR0917  # fixtures of a test
    place: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    target: str,
    options: list[str],
    named: str,
) -> None:
    out = tmp_path / "run"
    given = ["--data", str(place / "data.npy"), "--out", str(out), "--executor", "local", "--quiet"]
    arguments = ["tune", str(place / "wide.onnx"), *given, "--target", target, *options]
    assert invoke(arguments) == 2
    assert named in capsys.readouterr().err
    assert not out.exists()


def test_a_network_with_no_more_tensors_than_the_budget_gets_them_all(
    place: Path, tmp_path: Path, target: str
) -> None:
    found = tune(place, "wide", tmp_path / "run", target=target, int16_budget=100)
    assert {row["bits"] for row in thresholds(tmp_path / "run").values()} == {16}
    assert len(found.curve[-1].int16) == len(found.curve) - 1


def test_a_tensor_that_has_16_bits_already_is_not_chosen(place: Path, tmp_path: Path, target: str) -> None:
    found = tune(place, "wide", tmp_path / "run", target=target, int16_budget=1, int16_layers=("wide",))
    assert "wide" not in found.curve[-1].int16
    wide = [name for name, row in thresholds(tmp_path / "run").items() if row["bits"] == 16]
    assert len(wide) == 2


def test_unknown_names_are_still_found_early(place: Path, tmp_path: Path, target: str) -> None:
    with pytest.raises(UsageError, match="--layers names nothing"):
        tune(place, "wide", tmp_path / "run", target=target, int16_budget=1, layers=("nothing",))


def test_an_interrupted_run_chooses_the_same(
    place: Path, tmp_path: Path, target: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    every: list[str] = []
    use_watched(monkeypatch, every)
    whole = tune(place, "wide", tmp_path / "whole", target=target, int16_budget=1, float_budget=1)
    for part in (0.4, 0.7):
        out = tmp_path / str(part)
        before: list[str] = []
        use_watched(monkeypatch, before, int(part * len(every)))
        with pytest.raises(InterruptedRun):
            tune(place, "wide", out, target=target, int16_budget=1, float_budget=1)
        after: list[str] = []
        use_watched(monkeypatch, after)
        found = tune(place, "wide", out, target=target, int16_budget=1, float_budget=1, resume=True)
        assert before + after == every
        assert bits(out) == bits(tmp_path / "whole")
        assert found.curve == whole.curve
