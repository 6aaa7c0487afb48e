"""Job files."""

from __future__ import annotations

from pathlib import Path

import pytest

from distq.config import CalibrateOptions, EvaluateOptions, TuneOptions
from distq.errors import UsageError
from distq.jobfile import load_job


@pytest.fixture
def write(tmp_path):
    def write(text):
        path = tmp_path / "job.yaml"
        path.write_text(text, encoding="utf-8")
        return path

    return write


def test_paths_start_at_the_job_file(write, tmp_path):
    text = (
        "command: tune\nmodel: nets/m.onnx\ndata: /photos\nout: ../run\nlayers: [a, b]\nignore_layers: c,d\n"
    )
    job = load_job(write(text))
    assert job.options == TuneOptions(
        model=tmp_path / "nets/m.onnx",
        data=Path("/photos"),
        out=tmp_path / "../run",
        layers=("a", "b"),
        ignore_layers=("c", "d"),
    )
    assert (job.quiet, job.json) == (False, False)


def test_several_preprocessing_files_start_there_each(write, tmp_path):
    for files in ("a.py, parts/b.py", "[a.py, parts/b.py]"):
        job = load_job(write(f"command: tune\nmodel: m\nout: r\npreprocess: {files}\n"))
        assert job.options.preprocess == Path(f"{tmp_path}/a.py,{tmp_path}/parts/b.py")
    assert TuneOptions(model="m", out="r", preprocess=["a.py", "b.py"]).preprocess == Path("a.py,b.py")


def test_each_command_has_its_options(write, tmp_path):
    job = load_job(write("command: calibrate\nmodel: m\nout: r\nbias_correction: false\nquiet: true\n"))
    assert job.options == CalibrateOptions(model=tmp_path / "m", out=tmp_path / "r", bias_correction=False)
    assert job.quiet
    assert (
        load_job(write("command: calibrate\nmodel: m\nout: r\nno_bias_correction: true\n")).options
        == job.options
    )
    job = load_job(write("command: eval\ncandidate: m\nagainst: f\ndata: d\njson: true\n"))
    assert job.options == EvaluateOptions(
        candidate=tmp_path / "m", against=tmp_path / "f", data=tmp_path / "d"
    )
    assert job.json


def test_overrides_replace_values_and_start_at_the_current_folder(write, tmp_path):
    path = write("command: calibrate\nmodel: m\nout: r\nworkers: 2\n")
    job = load_job(path, {"out": Path("elsewhere"), "workers": 4})
    assert job.options == CalibrateOptions(model=tmp_path / "m", out=Path("elsewhere"), workers=4)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "a job file is a mapping such as 'command: tune', not empty"),
        ("- tune\n", "a job file is a mapping such as 'command: tune', not a list"),
        ("tune", "a job file is a mapping such as 'command: tune', not a str"),
        ("command: [tune\nmodel: m", "is not YAML: line 2"),
        ("command: !!python/object/apply:os.system [ls]", "is not YAML: line 1"),
        ("model: m", "command is missing: it is one of calibrate, tune, auto, eval"),
        ("command: tune\nmatrix: {method: [kl]}", "a matrix is of a sweep: run it with distq sweep"),
        ("command: tuen", "unknown command 'tuen': it is one of calibrate, tune, auto, eval"),
        ("command: [tune]", r"unknown command \['tune'\]"),
        ("3: tune", "key 3 is not the name of an option"),
        ("command: tune\nmodle: m", r"unknown option modle: did you mean model\? \(tune\)"),
        ("command: tune\nmodel: m\nout: r\nxyzzy: 1", "unknown option xyzzy: allowed are address, "),
        ("command: calibrate\nmodel: m\nout: r\nlayers: a", "unknown option layers"),
        ("command: tune\nmodel: m", "out is missing"),
        ("command: tune\nmodel: 3\nout: r", "model 3: give one path"),
        ("command: tune\nmodel: m\nout: r\nsamples: few", "samples few: input should be a valid integer"),
        ("command: tune\nmodel: m\nout: r\nmethod: odd", "method odd: input should be 'auto', 'max'"),
        ("command: tune\nmodel: m\nout: r\nlayers: 5", "layers 5: input should be a valid tuple"),
        ("command: tune\nmodel: m\nout: r\nlayers: [1]", "layers"),
        ("command: tune\nmodel: m\nout: r\nno_equalize: 2", "no_equalize is true or false, not 2"),
        ("command: tune\nmodel: m\nout: r\nquiet: loud", "quiet is true or false, not 'loud'"),
    ],
)
def test_what_is_wrong_is_said_in_one_line(text, message, write):
    path = write(text)
    with pytest.raises(UsageError, match=message) as error:
        load_job(path)
    assert str(error.value).startswith(f"{path}: ")
    assert len(str(error.value).splitlines()) == 1


def test_an_override_that_the_command_lacks_is_named(write):
    with pytest.raises(UsageError, match=r"unknown option resume.*\(eval\)"):
        load_job(write("command: eval\ncandidate: m\ndata: d\n"), {"resume": True})


def test_a_file_that_cannot_be_read_is_named(tmp_path):
    with pytest.raises(UsageError, match=r"none\.yaml: cannot be read"):
        load_job(tmp_path / "none.yaml")
    (tmp_path / "binary.yaml").write_bytes(b"\xff\xfe\x80")
    with pytest.raises(UsageError, match="is not UTF-8"):
        load_job(tmp_path / "binary.yaml")
