"""``distq eval --measure``: figures beside the contract's, of built-in measures and a user's own."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from job_helpers import Graph, samples, write_model

import distq
from distq.cli.app import invoke
from distq.errors import DataError, PreprocessError, UsageError
from distq.jobfile import load_job
from distq.run.figures import MeasureFigures
from distq.run.results import Accuracy, EvaluateResult
from distq.search.measures.measure import Facts, Measure, Outputs


def evaluate(model: Path, data: Path, **options: Any) -> EvaluateResult:
    return distq.evaluate(model, data=data, executor="local", **options)


@pytest.fixture(scope="module")
def quantized(model: Path, data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("measures") / "run"
    distq.calibrate(model=model, data=data, out=out, samples=8, executor="local")
    return out / "model.int8.onnx"


@pytest.fixture(scope="module")
def labels(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("labels") / "labels.txt"
    path.write_text("\n".join(f"{i} {i % 6}" for i in range(len(samples()))))
    return path


def test_the_built_in_ones_agree_with_the_contracts_figures(
    quantized: Path, model: Path, data: Path, labels: Path
) -> None:
    names = "nmse,sqnr,cosine,topk,squared"
    found = evaluate(quantized, data, against=model, labels=labels, measure=names, shard_size=5)
    figures = {one.measure: one for one in found.measures}
    accuracy = found.candidate
    assert isinstance(accuracy, Accuracy)
    assert figures["nmse"].candidate == {"nmse": pytest.approx(accuracy.nmse)}
    assert figures["sqnr"].candidate == {"sqnr": pytest.approx(accuracy.sqnr_db)}
    assert figures["cosine"].candidate == {"cosine": pytest.approx(accuracy.cosine)}
    assert figures["topk"].candidate == {"top1": accuracy.top1, "top5": accuracy.top5}
    assert found.against is not None
    assert figures["topk"].against == {"top1": found.against.top1, "top5": found.against.top5}
    assert figures["squared"].candidate["squared"] > 0
    assert [one.higher_is_better for one in found.measures] == [False, True, True, True, False]


OWN = """
higher_is_better = False

def postprocess(outputs, sample):
    return {"first": outputs["scores"][0, :2]}

def score(outputs, sample):
    return [outputs["first"].sum(), sample.inputs["x"].sum()]

def finish(records):
    return {"worst": max(record[0] for record in records), "count": len(records)}
"""


@pytest.fixture
def own(tmp_path: Path) -> Path:
    path = tmp_path / "worst.py"
    path.write_text(OWN)
    return path


def test_a_users_file_scores_samples_and_makes_a_figure_of_them(
    own: Path, quantized: Path, model: Path, data: Path
) -> None:
    for size in (1, 12):
        found = evaluate(quantized, data, against=model, measure=own, allow_code=True, shard_size=size)
        (figures,) = found.measures
        assert (figures.measure, figures.higher_is_better) == ("worst", False)
        assert figures.candidate["count"] == 12
        assert figures.against is not None
        assert figures.candidate["worst"] == pytest.approx(figures.against["worst"], rel=0.2)


def test_a_users_file_needs_leave_to_run(own: Path, model: Path, data: Path) -> None:
    with pytest.raises(UsageError, match=r"worst\.py is Python code: give --allow-code"):
        evaluate(model, data, measure=own)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("x = 1", r"has no function score\(outputs, sample\)"),
        ("def score(outputs, sample): return 1 / 0", "score raised ZeroDivisionError"),
        ("def score(outputs, sample): return 'a'", "score gives a number or an array, not str"),
        ("def score(o, s): return 1\ndef finish(records): return 'a'", "finish gives a number .*, not str"),
        (
            "def score(o, s): return 1\ndef postprocess(o, s): return 1",
            "postprocess gives a dict .*, not int",
        ),
    ],
)
def test_what_is_wrong_in_a_users_file_is_told(
    text: str, message: str, model: Path, data: Path, tmp_path: Path
) -> None:
    path = tmp_path / "own.py"
    path.write_text(text)
    with pytest.raises(PreprocessError, match=message):
        evaluate(model, data, measure=path, allow_code=True)


class Largest(Measure):
    """A measure made in Python."""

    name = "largest"

    def score(self, outputs: Outputs, sample: Facts) -> float:
        assert sample.name
        return float(next(iter(outputs.values())).max())


def test_a_measure_made_in_python(model: Path, data: Path) -> None:
    (found,) = evaluate(model, data, measure=Largest()).measures
    assert found == MeasureFigures(measure="largest", higher_is_better=True, candidate=found.candidate)
    assert np.isfinite(found.candidate["largest"])


def test_measures_that_cannot_be_taken_are_told(model: Path, data: Path) -> None:
    with pytest.raises(UsageError, match="no measure is called 'snr': it is nmse, squared"):
        evaluate(model, data, measure="snr")
    with pytest.raises(UsageError, match="compares with a float model: give --against"):
        evaluate(model, data, measure="cosine")
    with pytest.raises(UsageError, match="no known detector has outputs of 1x6"):
        evaluate(model, data, measure="detection")
    with pytest.raises(UsageError, match="known detectors are yolov3"):
        evaluate(model, data, measure="detection:yolo")
    with pytest.raises(UsageError, match="the first output is 1x6, where text needs steps of classes"):
        evaluate(model, data, against=model, measure="text")
    with pytest.raises(UsageError, match="--measure top5 needs labels and one row of class scores"):
        evaluate(model, data, measure="top5")
    with pytest.raises(UsageError, match="--annotations are for --measure detection"):
        evaluate(model, data, annotations=data)


def test_samples_without_a_label_do_not_keep_others_from_being_counted(model: Path, tmp_path: Path) -> None:
    for i, array in enumerate(samples(3)):
        np.save(tmp_path / f"{i}.npy", array)
    (tmp_path / "list.txt").write_text("0.npy\n1.npy 2\n2.npy 4\n")
    found = evaluate(model, tmp_path / "list.txt", measure="topk")
    (figures,) = found.measures
    assert set(figures.candidate) == {"top1", "top5"}


def test_what_people_read_is_measured_and_searched(tmp_path: Path) -> None:
    """A recognizer of 8 steps and 5 classes, and a map of probabilities, in one network each."""
    graph = Graph(3)
    graph.add("Relu", [graph.conv("x", (3, 6), "sums")], "body")
    graph.add(
        "ReduceMean", [graph.conv("body", (6, 5), "classes", gain=(5.0,))], "columns", axes=[2], keepdims=0
    )
    graph.add("Transpose", ["columns"], "steps", perm=[0, 2, 1])
    graph.add("Sigmoid", [graph.conv("body", (6, 1), "sign", gain=(9.0,))], "map")
    np.save(tmp_path / "data.npy", samples())
    for output, shape, measure, figure in (
        ("steps", (1, 8, 5), "text", "lines"),
        ("map", (1, 1, 8, 8), "text-boxes", "shared"),
    ):
        model = write_model(tmp_path / f"{output}.onnx", graph.model({output: shape}))
        given: dict[str, Any] = {"data": tmp_path / "data.npy", "executor": "local"}
        run = distq.tune(model=model, **given, diff=measure, samples=8, holdout=4, out=tmp_path / output)
        (measured,) = run.tuning.measures
        assert set(measured.before) >= {figure}
        exported = tmp_path / output / "model.int8.onnx"
        (found,) = distq.evaluate(exported, against=model, **given, measure=measure).measures
        assert 0.5 < found.candidate[figure] <= 1
        assert found.against is None


def test_the_command_and_job_files_take_them(  # noqa: PLR0917  # as pytest calls it
    own: Path, model: Path, data: Path, labels: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = [str(model), "--data", str(data), "--executor", "local", "--allow-code"]
    assert invoke(["eval", *arguments, "--labels", str(labels), "--measure", f"topk,{own}"]) == 0
    assert "worst" in capsys.readouterr().out
    job = tmp_path / "job.yaml"
    job.write_text(f"{{command: eval, candidate: {model}, data: {data}, measure: 'topk, worst.py'}}")
    assert load_job(job).options.measure == ("topk", str(own))  # type: ignore[attr-defined]  # of eval


def test_a_measure_that_gives_nan_is_named(model: Path, data: Path, tmp_path: Path) -> None:
    path = tmp_path / "own.py"
    path.write_text("def score(outputs, sample): return float('nan')")
    with pytest.raises(DataError, match=r"own gives NaN on .*: mend its score"):
        evaluate(model, data, measure=path, allow_code=True)
