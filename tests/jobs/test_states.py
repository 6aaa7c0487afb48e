"""Recurrent models: a state input takes what its output gave one sample before."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
import onnxruntime
import pytest
from job_helpers import Graph, calibrate, write_model

import distq
from distq.cli.app import invoke
from distq.errors import DataError, UsageError
from distq.run.states import OF

PAIRS = ("hidden=next_hidden", "cell=next_cell")
STEPS = 14


def recurrent() -> onnx.ModelProto:
    """A linear layer, an LSTM with its states as inputs and outputs, and another linear layer."""
    graph = Graph(3)
    graph.add("Relu", [graph.gemm("x", (5, 6), "sums")], "features")
    graph.add("Unsqueeze", ["features", integers(graph, [0])], "steps")
    weights = [graph.constant(graph.rng.standard_normal((1, 16, size)) * 0.8) for size in (6, 4)]
    graph.add("LSTM", ["steps", *weights, "", "", "hidden", "cell"], "all", hidden_size=4)
    graph.nodes[-1].output.extend(["next_hidden", "next_cell"])
    graph.add("Reshape", ["all", integers(graph, [1, 4])], "flat")
    graph.gemm("flat", (4, 3), "y")
    state = (1, 1, 4)
    outputs = {"y": (1, 3), "next_hidden": state, "next_cell": state}
    return graph.model(outputs, {"x": (1, 5), "hidden": state, "cell": state})


def integers(graph: Graph, values: list[int]) -> str:
    name = f"integers{len(graph.constants)}"
    graph.constants.append(onnx.numpy_helper.from_array(np.array(values, np.int64), name))
    return name


def by_hand(model: Path, rows: npt.NDArray[Any], sequence: int = STEPS) -> dict[str, npt.NDArray[Any]]:
    """The rows with the states that each finds."""
    session = onnxruntime.InferenceSession(model.read_bytes(), providers=["CPUExecutionProvider"])
    kept: dict[str, list[npt.NDArray[Any]]] = {"x": [], "hidden": [], "cell": []}
    for number, row in enumerate(rows):
        if number % sequence == 0:
            state = {name: np.zeros((1, 1, 4), np.float32) for name in ("hidden", "cell")}
        feeds = {"x": row[np.newaxis], **state}
        for name, value in feeds.items():
            kept[name].append(value)
        found = session.run(["next_hidden", "next_cell"], feeds)
        state = dict(zip(("hidden", "cell"), found, strict=True))
    return {name: np.stack(values) for name, values in kept.items()}


class Place:
    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.model = write_model(folder / "model.onnx", recurrent())
        self.rows = np.asarray(np.random.default_rng(0).standard_normal((STEPS, 5)), np.float32)
        self.data = folder / "rows.npy"
        np.save(self.data, self.rows)

    def run(self, name: str, **options: Any) -> distq.RunResult:
        data = options.pop("data", self.data)
        return calibrate(self.model, data, self.folder / name, **{"samples": 8, "state": PAIRS, **options})

    def files(self, name: str) -> list[bytes]:
        return [(self.folder / name / file).read_bytes() for file in ("thresholds.json", "model.int8.onnx")]


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Place:
    return Place(tmp_path_factory.mktemp("states"))


@pytest.mark.parametrize("sequence", [None, 4])
def test_samples_find_the_states_that_float_left(place: Place, sequence: int | None) -> None:
    """What comes of it is what comes of data that has the states."""
    found = place.run(f"own{sequence}", sequence=sequence)
    wanted = by_hand(place.model, place.rows, sequence or STEPS)
    np.savez(place.folder / "given.npz", **wanted)
    given = calibrate(place.model, place.folder / "given.npz", place.folder / f"given{sequence}", samples=8)
    assert found.holdout == given.holdout
    assert found.holdout is not None
    assert found.holdout.images == STEPS - 8
    assert place.files(f"own{sequence}") == place.files(f"given{sequence}")


def test_states_matter(place: Place) -> None:
    zeros = {n: np.zeros((STEPS, 1, 1, 4), np.float32) for n in ("hidden", "cell")}
    np.savez(place.folder / "zeros.npz", x=place.rows, **zeros)
    calibrate(place.model, place.folder / "zeros.npz", place.folder / "zeros", samples=8)
    place.run("carried")
    assert place.files("zeros") != place.files("carried")


def test_a_generator_and_data_that_is_held_out_have_states_too(place: Place) -> None:
    def rows() -> Iterator[npt.NDArray[Any]]:
        yield from place.rows

    place.run("listed")
    place.run("generated", data=rows(), state=dict(pair.split("=") for pair in PAIRS), holdout=6)
    assert place.files("generated") == place.files("listed")
    other = place.run("held", holdout_data=place.data, holdout=5)
    assert other.holdout is not None
    assert other.holdout.images == 5


def test_steps_are_recorded_once(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:
        patch.setattr("distq.stages.observe.observe", interrupted)
        patch.setattr("distq.stages.calibrated.observe", interrupted, raising=False)
        with pytest.raises(distq.InterruptedRun):
            place.run("again")
    recorded = (place.folder / "again" / "states" / "00000.npz").stat()
    place.run("again", resume=True)
    assert (place.folder / "again" / "states" / "00000.npz").stat().st_mtime_ns == recorded.st_mtime_ns
    place.run("whole")
    assert place.files("again") == place.files("whole")
    assert place.run("again", resume=True).holdout is not None
    np.save(place.folder / "others.npy", place.rows[::-1])
    with pytest.raises(UsageError, match="states holds those of other data"):
        place.run("again", resume=True, data=place.folder / "others.npy")
    with pytest.raises(UsageError, match="sequence"):
        place.run("again", resume=True, sequence=3)


def interrupted(*_: object) -> None:
    raise KeyboardInterrupt


def test_eval_and_diff_run_sequences(place: Place) -> None:
    found = place.run("measured", holdout=0, samples=STEPS)
    measured = distq.evaluate(
        found.out / "model.int8.onnx", against=place.model, data=place.data, state=PAIRS, executor="local"
    )
    assert found.tuning is not None
    assert measured.candidate == found.tuning.before
    again = distq.evaluate(
        found.out / "model.int8.onnx", against=place.model, data=found.out / "states", executor="local"
    )
    assert again.candidate == measured.candidate
    table = found.out / "thresholds.json"
    network = distq.diff(
        model=place.model, table=table, data=place.data, state=PAIRS, tune_samples=STEPS, executor="local"
    ).network
    assert network == found.tuning.before


def test_the_command_and_a_job_file_take_states(place: Place) -> None:
    states = [word for pair in PAIRS for word in ("--state", pair)]
    places = ["--data", str(place.data), "--out", str(place.folder / "cli")]
    others = ["--samples", "8", "--executor", "local", "--quiet"]
    assert invoke(["calibrate", str(place.model), *places, *others, *states]) == 0
    (place.folder / "job.yaml").write_text(
        "command: calibrate\nmodel: model.onnx\ndata: rows.npy\nsamples: 8\nexecutor: local\nout: job\n"
        "state: {hidden: next_hidden, cell: next_cell}\n"
    )
    assert invoke(["run", str(place.folder / "job.yaml"), "--quiet"]) == 0
    assert place.files("cli") == place.files("job")
    assert (place.folder / "cli" / "states" / OF).is_file()


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"state": ("hiden=next_hidden",)}, "which is no input of the model; the nearest is hidden"),
        (
            {"state": ("hidden=next_hiden",)},
            "which is no output of the model; the nearest is next_hidden",
        ),
        ({"state": ("hidden=next_hidden", "hidden=next_cell")}, "names an input twice"),
        ({"state": ("hidden=next_hidden", "cell=next_cell", "x=y")}, "every input of the model"),
        ({"state": ("hidden",)}, "give IN=OUT"),
        ({"state": (), "sequence": 3}, "--sequence says where states start anew"),
        ({"labels": "labels.txt"}, "--labels"),
        (
            {"state": ("hidden=next_hidden", "cell=y")},
            "the output is 1x3 float32, the input takes 1x1x4",
        ),
    ],
)
def test_states_of_another_model_are_refused(place: Place, options: dict[str, Any], reason: str) -> None:
    (place.folder / "labels.txt").write_text("0 1\n")
    if "labels" in options:
        options = {"labels": place.folder / "labels.txt"}
    with pytest.raises((UsageError, DataError), match=reason):
        place.run("refused", **options)
