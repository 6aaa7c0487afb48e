"""``auto`` begins with the network whose channels are evened out, where that is closer to float."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from job_helpers import Graph, bits, read_json, samples, write_model

import distq
from distq.cli.app import invoke
from distq.config import AutoOptions
from distq.reports.command import command_of
from distq.run.results import RunResult
from distq.stages.candidates import Candidate
from distq.stages.equalize import evens_out
from distq.stages.form import Choice

SPREAD = (1.0, 0.02, 0.3, 0.05, 1.0, 0.01, 0.1, 0.5)
"""Factors of channels in front of depthwise layers."""


def silu_of_unlike_channels() -> onnx.ModelProto:
    """A SiLU in front of a depthwise Conv: a multiplication takes the factors, and writes another tensor."""
    graph = Graph(5)
    sums = graph.conv("x", (3, 8), "sums", gain=SPREAD)
    gate = graph.add("Sigmoid", [sums], "gate")
    unlike = graph.add("Mul", [sums, gate], "unlike")
    back = graph.conv(unlike, (8, 8), "back", group=8, gain=[1 / factor for factor in SPREAD])
    graph.conv(back, (8, 16), "y", kernel=3)
    return graph.model({"y": (1, 16, 8, 8)})


def unlike_channels_and_a_wide_tensor() -> onnx.ModelProto:
    """Depthwise blocks of channels unlike each other; behind them one channel of ``wide`` drowns the others.

    Evening out mends the first. A Mul keeps it from ``wide``.
    """
    graph = Graph(2)
    blocks = graph.depthwise_blocks(3, SPREAD)
    loud = graph.conv(blocks, (8, 6), "sums", gain=(60, 1, 1, 1, 1, 1))
    graph.add("LeakyRelu", [loud], "wide", alpha=0.1)
    read = graph.conv("wide", (6, 4), "read", kernel=1)
    graph.add("Mul", ["wide", graph.constant(0.0)], "silenced")
    graph.add("ReduceMean", ["silenced"], "zero", axes=[1], keepdims=1)
    graph.add("Add", [read, "zero"], "y")
    return graph.model({"y": (1, 4, 8, 8)})


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("evened")
    write_model(folder / "blocks.onnx", unlike_channels_and_a_wide_tensor())
    write_model(folder / "silu.onnx", silu_of_unlike_channels())
    np.save(folder / "data.npy", samples(24))
    return folder


def auto(place: Path, name: str, out: Path, **options: Any) -> RunResult:
    one_scale = {"channel_scales": False}  # of their own, channels need no evening out
    given = {"samples": 16, "method": "mse", "effort": 1, "executor": "local", **one_scale, **options}
    return distq.auto(model=place / f"{name}.onnx", data=place / "data.npy", out=out, **given)


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("blocks", {"target": "ort", "cost": "layers", "goal": "sqnr:35"}),
        ("blocks", {"target": "openvino", "goal": "sqnr:24"}),
        ("silu", {"target": "openvino", "goal": "sqnr:29"}),
    ],
)
def test_evened_out_it_needs_less_and_the_job_file_makes_the_same_bits(
    place: Path, tmp_path: Path, name: str, options: dict[str, str]
) -> None:
    evened = auto(place, name, tmp_path / "run", equalize=True, **options).auto
    plain = auto(place, name, tmp_path / "plain", **options).auto
    assert evened is not None
    assert plain is not None
    assert evened.reached
    assert (evened.answer.layers, evened.answer.macs) < (plain.answer.layers, plain.answer.macs)
    assert "channels evened out" in evened.chosen
    assert evened.command == "tune"
    assert invoke(["run", str(tmp_path / "run" / "chosen.yaml"), "--quiet"]) == 0
    assert bits(tmp_path / "run" / "chosen") == bits(tmp_path / "run")


def test_16_bits_for_an_evened_out_tensor_are_those_of_the_given_one() -> None:
    given = AutoOptions(model="net.onnx", data="data.npy", out="run", goal="sqnr:30", int16_layers=("x",))
    choice = Choice(int16=("unlike_equalized", "back"))
    candidate = Candidate("INT8", choice=choice, evened=True, as_given={"unlike_equalized": "unlike"})
    options = candidate.options(given)
    assert options.int16_layers == ("x", "unlike", "back")
    assert evens_out(options)
    assert not evens_out(given.model_copy(update={"effort": 1}))


@pytest.mark.parametrize("other", [["--layers", "y"], ["--no-bias-correction"], ["--strategy", "grid"]])
def test_evening_out_what_other_options_keep_is_refused(
    place: Path, tmp_path: Path, other: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    data = ["--data", str(place / "data.npy"), "--out", str(tmp_path / "run")]
    assert invoke(["tune", str(place / "silu.onnx"), *data, "--equalize", *other]) == 2
    assert "--equalize" in capsys.readouterr().err
    assert not (tmp_path / "run").exists()


def test_a_combination_by_hand_evens_out_without_a_search_and_is_shown_as_it_was_given(
    place: Path, tmp_path: Path
) -> None:
    tries = ("effort=1; equalize", "effort=1; no-equalize")
    found = auto(
        place, "silu", tmp_path / "run", target="openvino", goal="sqnr:29", tries=tries, equalize=False
    )
    assert found.auto is not None
    met = {network.name: network.met for network in found.auto.tried}
    assert met == {"INT8": False, tries[0]: True, tries[1]: False}
    assert "--no-equalize" in command_of(read_json(tmp_path / "run" / "run.json"))
