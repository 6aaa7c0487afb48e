"""Node data for Model Explorer name the nodes of the user's file."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from job_helpers import calibrate, read_json, samples, three_layers, thresholds, write_model

import distq
from distq.cli.app import invoke
from distq.errors import UsageError
from distq.run.results import RunResult


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Path]]:
    """A model with a layer in float, and the node data of its run by ending."""
    place = tmp_path_factory.mktemp("explored")
    proto = three_layers()
    for number, node in enumerate(proto.graph.node):
        node.name = f"node{number}" if number else ""
    model = write_model(place / "model.onnx", proto)
    np.save(place / "data.npy", samples())
    calibrate(model, place / "data.npy", place / "run", samples=4, holdout=0, float_layers=("scores",))
    result = distq.report(place / "run", out=place / "page.html", model_explorer=True)
    return model, {path.name.split(".")[1]: path for path in result.node_data}


def ids(model: Path) -> dict[str, str]:
    """Id of what writes each tensor, as the ONNX adapter of Model Explorer makes it."""
    graph = onnx.load(model).graph
    nodes = {node.output[0]: node.name or f"<node_{i}>" for i, node in enumerate(graph.node)}
    return {**{value.name: f"[value] {value.name}" for value in graph.input}, **nodes}


def test_every_tensor_and_the_layer_before_it_has_its_precision(made: tuple[Path, dict[str, Path]]) -> None:
    model, files = made
    own, results = ids(model), read_json(files["precision"])["results"]
    for tensor in ("x", "first", "second", "first_sums", "second_sums"):
        assert results[own[tensor]]["value"] == "INT8", tensor
    assert results[own["scores"]]["value"] == "float"
    assert len({result["bgColor"] for result in results.values()}) == 2


def test_the_error_is_that_of_the_page_and_has_a_gradient(made: tuple[Path, dict[str, Path]]) -> None:
    model, files = made
    data = read_json(files["sqnr"])
    assert data["name"] == "own SQNR, dB"
    assert [stop["stop"] for stop in data["gradient"]] == [0, 0.5, 1]
    quantized = ids(model).keys() & thresholds(model.parent / "run").keys()
    assert all(data["results"][ids(model)[tensor]]["value"] > 10 for tensor in quantized)


def test_it_is_of_one_run(calibrated: RunResult, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = str(calibrated.out)
    assert invoke(["report", run, run, "--out", str(tmp_path / "p.html"), "--model-explorer"]) == 2
    assert "--model-explorer is of one run" in capsys.readouterr().err


def test_it_takes_the_place_of_node_data_alone(made: tuple[Path, dict[str, Path]], tmp_path: Path) -> None:
    run = made[0].parent / "run"
    other = tmp_path / "page.precision.json"
    for text in ("[]", "mine"):
        other.write_text(text)
        with pytest.raises(UsageError, match="is no node data"):
            distq.report(run, out=tmp_path / "page.html", model_explorer=True)
        assert [path.read_text() for path in tmp_path.iterdir()] == [text]
    other.unlink()
    for _ in range(2):
        distq.report(run, out=tmp_path / "page.html", model_explorer=True)
