"""``distq diff``."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from budget_networks import one_bad_layer, one_wide_tensor
from job_helpers import calibrate, samples, tree, write_model

from distq.cli.app import invoke
from distq.config import DiffOptions
from distq.engine.progress import SilentReporter
from distq.errors import UsageError
from distq.jobs.diff import diff
from distq.run.results import DiffResult, RunResult

TARGETS = ["ort", "openvino", "tensorrt"]


class Lines(SilentReporter):
    """Keeps what it is told."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def line(self, text: str) -> None:
        self.lines.append(text)


class Place:
    """A network, samples, and a calibrated run for each target."""

    def __init__(self, folder: Path, network: onnx.ModelProto) -> None:
        self.model = write_model(folder / "model.onnx", network)
        self.data = folder / "data.npy"
        np.save(self.data, samples(8))
        self.runs: dict[str, RunResult] = {
            target: calibrate(
                self.model,
                self.data,
                folder / target,
                target=target,
                method="max",
                holdout=0,
                channel_scales=False,
            )
            for target in TARGETS
        }
        self.folder = folder

    def table(self, target: str) -> Path:
        return self.folder / target / "thresholds.json"

    def diff(self, target: str, reporter: SilentReporter | None = None, **options: Any) -> DiffResult:
        given = {"model": self.model, "data": self.data, "table": self.table(target), "target": target}
        return diff(DiffOptions(**{**given, "executor": "local", **options}), reporter or SilentReporter())


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Place:
    return Place(tmp_path_factory.mktemp("diff"), one_wide_tensor())


def test_all_samples_that_are_asked_for_are_compared(place: Place, tmp_path: Path) -> None:
    np.save(tmp_path / "more.npy", samples(24))
    found = {n: place.diff("ort", data=tmp_path / "more.npy", samples=n).images for n in (12, 16, 24)}
    assert found == {12: 12, 16: 16, 24: 16}


@pytest.mark.parametrize("target", TARGETS)
def test_the_whole_network_is_what_the_run_with_the_table_measured(place: Place, target: str) -> None:
    found = place.diff(target)
    tuning = place.runs[target].tuning
    assert tuning is not None
    assert found.network == tuning.before
    assert (found.images, found.layers, found.steps, found.tensors) == (8, None, (), ())


def test_a_table_in_the_folder_of_a_run_is_taken_with_the_target_of_the_run(place: Place) -> None:
    given = {"model": place.model, "data": place.data, "table": place.table("openvino"), "executor": "local"}
    lines = Lines()
    found = diff(DiffOptions(**given), lines)
    assert found.network == place.diff("openvino").network
    assert f"--target openvino, as the run of {place.table('openvino')}" in lines.lines
    with pytest.raises(UsageError, match="give --target openvino"):
        diff(DiffOptions(**given, target="ort"), lines)
    code = invoke(
        [
            "diff",
            str(place.model),
            "--table",
            str(place.table("tensorrt")),
            "--data",
            str(place.data),
            "--executor",
            "local",
            "--quiet",
        ]
    )
    assert code == 0


@pytest.mark.parametrize("target", TARGETS)
def test_the_wide_tensor_costs_most_alone_and_inside(place: Place, target: str) -> None:
    found = place.diff(target, sensitivity=True)
    assert found.tensors[0].tensor == "wide"
    assert max(found.tensors, key=lambda t: t.alone_nmse).tensor == "wide"
    assert found.tensors[0].part > 0.5
    parts = [t.without_nmse for t in found.tensors]
    assert parts == sorted(parts)
    assert {t.tensor for t in found.tensors} == {
        name
        for name, row in json.loads(place.table(target).read_text())["tensors"].items()
        if not row["tied_to"]
    }


@pytest.mark.parametrize("target", TARGETS)
def test_alone_weights_are_float(tmp_path: Path, target: str) -> None:
    """Where the error is that of weights, each tensor alone is far closer to float than the network."""
    place = Place(tmp_path, one_bad_layer())
    found = place.diff(target, sensitivity=True)
    assert min(t.alone_sqnr_db for t in found.tensors) > found.network.sqnr_db + 10
    assert all(abs(t.part) < 0.2 for t in found.tensors)


@pytest.mark.parametrize("target", TARGETS)
def test_int8_grows_from_the_first_layer_to_the_whole_network(place: Place, target: str) -> None:
    reporter = Lines()
    found = place.diff(target, reporter, progressive=True)
    assert [step.layer for step in found.steps] == ["a", "wide", "c", "y"]
    assert found.steps[-1].nmse == pytest.approx(found.network.nmse, rel=0.02)
    assert found.steps[0].nmse < found.steps[-1].nmse
    worded = [line for line in reporter.lines if line.startswith("Difference from first layer to ")]
    assert worded[0] == f"Difference from first layer to a layer is {found.steps[0].nmse:.6g}"
    assert len(worded) == 4


@pytest.mark.parametrize("target", TARGETS)
def test_only_the_layers_named_are_int8(place: Place, target: str) -> None:
    everything = place.diff(target, int8_layers=("a", "wide", "c", "y"))
    assert everything.network.nmse == pytest.approx(place.diff(target).network.nmse, rel=0.02)
    first = place.diff(target, int8_layers=("a",))
    assert first.layers == ("a",)
    assert first.network.sqnr_db > everything.network.sqnr_db + 6
    assert first.network.sqnr_db == pytest.approx(place.diff(target, int8_layers=("a",)).network.sqnr_db)


def test_a_layer_is_also_known_by_its_node(place: Place) -> None:
    found = place.diff("ort", int8_layers=("Conv_a",))
    assert found.layers == ("a",)


def test_the_layers_are_listed_in_a_file_and_named_by_patterns(place: Place, tmp_path: Path) -> None:
    listed = tmp_path / "layers.txt"
    listed.write_text("# the first two\na\n\n  wide  \n")
    assert place.diff("ort", int8_layers=(str(listed),)).layers == ("a", "wide")
    assert place.diff("ort", int8_layers=("?", "w*")).layers == ("a", "wide", "c", "y")


def test_the_curve_names_the_layers_that_it_grows_most_with(place: Place) -> None:
    found = place.diff("ort", progressive=True)
    errors = [0.0, *(step.nmse for step in found.steps)]
    grew = {step.layer: errors[i + 1] - errors[i] for i, step in enumerate(found.steps)}
    named = [step.layer for step in found.largest]
    assert named == sorted(grew, key=lambda name: -grew[name])[: len(named)]
    first = found.largest[0]
    at = next(i for i, step in enumerate(found.steps) if step.layer == first.layer)
    assert first.after == found.steps[at].sqnr_db
    assert place.diff("ort").largest == ()


def test_what_cannot_be_told_apart_is_said(place: Place, capsys: pytest.CaptureFixture[str]) -> None:
    """``wide`` is a Conv and its Relu, one kernel."""
    found = place.diff("ort", int8_layers=("wide",))
    assert found.layers == ("wide",)
    assert set(found.folded) == {"wide"}
    assert place.diff("ort", int8_layers=found.folded["wide"][:1]).layers == ("wide",)
    assert invoke(arguments(place, "--progressive")) == 0
    shown = capsys.readouterr().out
    assert "The largest steps" in shown
    assert "One layer, in INT8 together: wide, " in shown


def test_what_has_16_bits_in_the_table_has_them_here(place: Place, tmp_path: Path) -> None:
    run = calibrate(
        place.model, place.data, tmp_path / "run", method="max", holdout=0, int16_layers=("wide",)
    )
    options = DiffOptions(
        model=place.model, data=place.data, table=tmp_path / "run" / "thresholds.json", executor="local"
    )
    assert run.tuning is not None
    assert diff(options, SilentReporter()).network == run.tuning.before


def test_nothing_is_written(place: Place) -> None:
    before = tree(place.folder)
    place.diff("ort", sensitivity=True)
    assert tree(place.folder) == before


def arguments(place: Place, *more: str) -> list[str]:
    given = ["--table", str(place.table("ort")), "--data", str(place.data), "--executor", "local"]
    return ["diff", str(place.model), *given, *more]


def test_as_json(place: Place, capsys: pytest.CaptureFixture[str]) -> None:
    assert invoke(arguments(place, "--sensitivity", "--json")) == 0
    printed = json.loads(capsys.readouterr().out)
    assert printed["tensors"][0]["tensor"] == "wide"
    assert printed["images"] == 8


@pytest.mark.parametrize(
    ("more", "shown"),
    [
        ([], "SQNR dB"),
        (["--progressive"], "layer"),
        (["--sensitivity"], "wide"),
        (["--int8-layers", "a"], "a in"),
    ],
)
def test_as_tables(place: Place, capsys: pytest.CaptureFixture[str], more: list[str], shown: str) -> None:
    assert invoke(arguments(place, *more)) == 0
    assert shown in capsys.readouterr().out


@pytest.mark.parametrize(
    ("more", "named"),
    [
        (["--progressive", "--sensitivity"], "--progressive and --sensitivity ask for different"),
        (["--int8-layers", "wid"], "the nearest is wide"),
        (["--int8-layers", "x*"], "names x*, which is no compute layer"),
        (["--int8-layers", "missing.txt"], "--int8-layers missing.txt: cannot be read"),
        (["--tune-samples", "99"], "--tune-samples 8"),
        (["--table", "missing.json"], "missing.json"),
    ],
)
def test_bad_input_exits_2_with_one_line(
    place: Place, capsys: pytest.CaptureFixture[str], more: list[str], named: str
) -> None:
    assert invoke(arguments(place, *more, "--quiet")) == 2
    err = capsys.readouterr().err
    assert named in err
    assert len(err.splitlines()) == 1


def test_another_measure_is_compared(place: Place) -> None:
    """Beside the NMSE, which stays; all layers in INT8 come to the same as the last step."""
    found = place.diff("ort", diff="squared", progressive=True)
    plain = place.diff("ort", progressive=True)
    assert plain.diff is None
    assert [step.nmse for step in found.steps] == [step.nmse for step in plain.steps]
    assert found.network == plain.network
    assert found.steps[-1].diff == pytest.approx(found.diff, rel=1e-3)
    costs = place.diff("ort", diff="cosine", sensitivity=True).tensors
    assert all(cost.without_diff is not None for cost in costs)
    assert list(costs) == sorted(costs, key=lambda cost: cost.without_diff or 0)
