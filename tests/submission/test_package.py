"""What of a job travels to a cluster, and what never does."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from distq.errors import UsageError
from distq.jobfile import load_job
from distq.submission.package import JOB_FILE, LARGEST_FILE, make_submission
from distq.sweeps.matrix import load_sweep

STEPS = b"inputs: {'*': {steps: [{scale: 2.0}]}}\n"
VALUES = {
    "command": "tune",
    "model": "/cluster/model.onnx",
    "data": "/cluster/photos",
    "preprocess": "parts/p.yaml",
    "layers": ["conv1", "conv2"],
    "tune_samples": 32,
    "out": "/cluster/runs/one",
}


@pytest.fixture
def job(tmp_path: Path):
    """Writes a job file beside a preprocessing file; options given replace VALUES, None leaves one out."""
    (tmp_path / "parts").mkdir()
    (tmp_path / "parts" / "p.yaml").write_bytes(STEPS)

    def write(**options: object) -> Path:
        values = {name: value for name, value in {**VALUES, **options}.items() if value is not None}
        path = tmp_path / "any name.yaml"
        path.write_text(yaml.safe_dump(values))
        return path

    return write


def test_the_job_file_and_the_small_files_it_names_travel_and_nothing_else(job) -> None:
    submission = make_submission(job())
    assert set(submission.files) == {JOB_FILE, "preprocess/p.yaml"}
    assert submission.files["preprocess/p.yaml"] == STEPS
    assert submission.run == "/cluster/runs/one"
    assert submission.entrypoint == "distq run job.yaml --resume"


def test_settings_by_layer_travel_with_the_job(job, tmp_path: Path) -> None:
    (tmp_path / "layers.yaml").write_bytes(b"conv1: {method: max}\n")
    submission = make_submission(job(layer_config="layers.yaml", float_layers=["conv2"]))
    assert submission.files["layer_config/layers.yaml"] == b"conv1: {method: max}\n"
    values = yaml.safe_load(submission.files[JOB_FILE])
    assert (values["layer_config"], values["float_layers"]) == ("layer_config/layers.yaml", ["conv2"])


def test_several_preprocessing_files_travel(job, tmp_path: Path) -> None:
    (tmp_path / "parts" / "q.yaml").write_bytes(STEPS + b"# q")
    submission = make_submission(job(preprocess="parts/p.yaml,parts/q.yaml"))
    assert set(submission.files) == {JOB_FILE, "preprocess/p.yaml", "preprocess/q.yaml"}
    given = yaml.safe_load(submission.files[JOB_FILE])["preprocess"]
    assert given == "preprocess/p.yaml,preprocess/q.yaml"


def test_measures_in_python_files_travel(job, tmp_path: Path) -> None:
    (tmp_path / "own.py").write_bytes(b"def score(outputs, sample): return 1\n")
    submission = make_submission(job(measure=["topk", "own.py"], diff="own.py"))
    assert {"measure/own.py", "diff/own.py"} <= set(submission.files)
    values = yaml.safe_load(submission.files[JOB_FILE])
    assert (values["measure"], values["diff"]) == (["topk", "measure/own.py"], "diff/own.py")


def test_what_arrives_is_the_same_job(job, tmp_path: Path) -> None:
    submission = make_submission(job(address="10.0.0.1:6379", resume=True), {"workers": 5})
    place = tmp_path / "there"
    submission.write(place)
    there = load_job(place / JOB_FILE).options
    here = load_job(job(), {"workers": 5}).options
    assert there == here.model_copy(update={"preprocess": place / "preprocess" / "p.yaml"})
    assert there.model_fields_set == here.model_fields_set, "a default must not become a wish"


def test_the_same_content_has_the_same_id_and_any_other_has_another(job, tmp_path: Path) -> None:
    first = make_submission(job()).id
    assert make_submission(job()).id == first
    assert make_submission(job(), {"workers": 2}).id != first
    assert make_submission(job(out="/cluster/runs/two")).id != first
    (tmp_path / "parts" / "p.yaml").write_bytes(STEPS + b"# another\n")
    assert make_submission(job()).id != first


@pytest.mark.parametrize("name", ["model", "weights", "data", "out", "holdout_data", "dump_dist"])
def test_models_data_and_run_must_be_paths_on_the_cluster(job, tmp_path: Path, name: str) -> None:
    (tmp_path / "here").write_bytes(b"also when it is here")
    with pytest.raises(UsageError, match=rf"{name} here is relative: models, data and RUN are not uploaded"):
        make_submission(job(**{name: "here"}))


def test_a_small_file_that_is_only_on_the_cluster_stays_there(job) -> None:
    submission = make_submission(job(preprocess="/cluster/p.yaml"))
    assert set(submission.files) == {JOB_FILE}
    assert yaml.safe_load(submission.files[JOB_FILE])["preprocess"] == "/cluster/p.yaml"


def test_a_small_file_that_is_missing_is_named(job) -> None:
    with pytest.raises(UsageError, match=r"labels none\.txt is not there"):
        make_submission(job(labels="none.txt"))


def test_a_file_that_is_not_small_is_refused(job, tmp_path: Path) -> None:
    with (tmp_path / "labels.txt").open("wb") as stream:
        stream.truncate(LARGEST_FILE + 1)
    with pytest.raises(UsageError, match=r"labels\.txt is over 16 MiB and is not uploaded"):
        make_submission(job(labels="labels.txt"))


def test_a_wrong_job_file_is_refused_before_anything_travels(job) -> None:
    with pytest.raises(UsageError, match="unknown option tune_sample"):
        make_submission(job(tune_sample=3))


def test_a_command_without_a_run_folder_is_not_resumed(job) -> None:
    options = dict.fromkeys(("model", "out", "tune_samples", "layers"))
    submission = make_submission(job(command="eval", candidate="/cluster/a.onnx", **options))
    assert submission.run is None
    assert submission.entrypoint == "distq run job.yaml"


class TestSweep:
    """A sweep file travels like a job file."""

    @pytest.fixture
    def sweep(self, tmp_path: Path):
        """Writes a sweep file beside two preprocessing files of one name."""
        for folder, steps in (("parts", STEPS), ("others", STEPS + b"# another\n")):
            (tmp_path / folder).mkdir()
            (tmp_path / folder / "p.yaml").write_bytes(steps)
        values = {
            "command": "calibrate",
            "data": "/cluster/photos",
            "out": "/cluster/runs/all",
            "samples": 16,
            "matrix": {
                "network": [
                    {"model": "/cluster/a.onnx", "preprocess": "parts/p.yaml"},
                    {"model": "/cluster/b.onnx", "preprocess": "others/p.yaml", "name": "second"},
                ],
                "method": ["kl", "mse"],
            },
            "exclude": [{"preprocess": "others/p.yaml", "method": ["kl"]}],
            "include": [{"model": "/cluster/c.onnx", "preprocess": "parts/p.yaml", "name": "third"}],
        }

        def write(**options: object) -> Path:
            path = tmp_path / "sweep.yaml"
            path.write_text(yaml.safe_dump({**values, **options}))
            return path

        return write

    def test_what_arrives_is_the_same_sweep(self, sweep, tmp_path: Path) -> None:
        submission = make_submission(sweep(address="auto"), {"workers": 5})
        assert submission.entrypoint == "distq sweep job.yaml --resume"
        assert (submission.command, submission.run) == ("sweep", "/cluster/runs/all")
        assert set(submission.files) == {JOB_FILE, "preprocess/p.yaml", "preprocess/2/p.yaml"}
        place = tmp_path / "there"
        submission.write(place)
        there, here = load_sweep(place / JOB_FILE), load_sweep(sweep(), {"workers": 5})
        assert there.place == here.place
        assert there.out == here.out
        assert [run.name for run in there.runs] == [run.name for run in here.runs]
        for ours, theirs in zip(here.runs, there.runs, strict=True):
            assert theirs.options.preprocess.read_bytes() == ours.options.preprocess.read_bytes()
            ignored = {"preprocess"}
            assert theirs.options.model_dump(exclude=ignored) == ours.options.model_dump(exclude=ignored)

    def test_its_content_decides_its_id(self, sweep, tmp_path: Path) -> None:
        first = make_submission(sweep()).id
        assert make_submission(sweep()).id == first
        (tmp_path / "others" / "p.yaml").write_bytes(STEPS)
        assert make_submission(sweep()).id != first

    @pytest.mark.parametrize(
        "options",
        [
            {"out": "runs"},
            {"data": "photos"},
            {"matrix": {"model": ["a.onnx"]}},
            {"matrix": {"network": [{"model": "a.onnx"}]}, "exclude": []},
            {"include": [{"model": "a.onnx"}]},
        ],
    )
    def test_models_data_and_run_must_be_paths_on_the_cluster(self, sweep, options) -> None:
        with pytest.raises(UsageError, match=r"is relative: models, data and RUN are not uploaded"):
            make_submission(sweep(**{"exclude": [], **options}))

    def test_a_wrong_sweep_is_refused_here(self, sweep) -> None:
        with pytest.raises(UsageError, match="unknown option metod: did you mean method"):
            make_submission(sweep(include=[{"metod": "kl"}]))
