"""The run folder: whose it is, and that nothing in it is lost."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from job_helpers import tree

from distq.errors import FileFormatError, UsageError
from distq.run import rundir as rundir_module
from distq.run.records import read_result
from distq.run.rundir import RunDir

JOB = {"command": "tune", "seed": 0, "layers": ["a"]}


def test_it_takes_a_new_folder_and_those_above_it(tmp_path: Path) -> None:
    rundir = RunDir(tmp_path / "runs" / "first")
    assert rundir.claim(JOB, resume=False)
    assert rundir.identity() == JOB
    assert not rundir.finished


def test_it_takes_an_empty_folder(tmp_path: Path) -> None:
    assert RunDir(tmp_path).claim(JOB, resume=False)


def test_resume_of_nothing_begins(tmp_path: Path) -> None:
    assert RunDir(tmp_path / "run").claim(JOB, resume=True)


def test_of_two_that_take_an_empty_folder_at_once_one_does_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rundir = RunDir(tmp_path / "run")
    make = rundir_module.make_run_folder

    def make_and_lose(path: Path) -> None:
        make(path)
        monkeypatch.undo()
        RunDir(path).claim({"command": "eval"}, resume=False)

    monkeypatch.setattr(rundir_module, "make_run_folder", make_and_lose)
    with pytest.raises(UsageError, match="taken by a run: give another --out"):
        rundir.claim(JOB, resume=False)
    assert rundir.identity() == {"command": "eval"}


def test_a_folder_with_anything_in_it_is_refused_and_left_alone(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("mine")
    for resume in (False, True):
        with pytest.raises(UsageError, match=r"no .*run.*: give another --out$|is not a run of distq"):
            RunDir(tmp_path).claim(JOB, resume=resume)
    assert tree(tmp_path) == {"notes.txt": b"mine"}


def test_a_run_is_continued_only_with_resume(tmp_path: Path) -> None:
    RunDir(tmp_path).claim(JOB, resume=False)
    with pytest.raises(UsageError, match=r"exists: give another --out, or --resume to continue"):
        RunDir(tmp_path).claim(JOB, resume=False)
    assert not RunDir(tmp_path).claim(JOB, resume=True)


def test_a_file_in_place_of_the_folder_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("mine")
    with pytest.raises(UsageError, match=r"file exists and is no folder: give another --out$"):
        RunDir(tmp_path / "file").claim(JOB, resume=False)
    with pytest.raises(UsageError, match=r"cannot be made: Not a directory; give another --out"):
        RunDir(tmp_path / "file" / "run").claim(JOB, resume=False)


@given(st.sampled_from(sorted(JOB)), st.sampled_from([1, "eval", ["b"], None]))
def test_another_job_is_refused_by_the_field_that_differs(
    tmp_path_factory: pytest.TempPathFactory, field: str, value: object
) -> None:
    folder = tmp_path_factory.mktemp("run")
    RunDir(folder).claim(JOB, resume=False)
    before = tree(folder)
    with pytest.raises(UsageError) as error:
        RunDir(folder).claim({**JOB, field: value}, resume=True)
    assert f"its {field} is {json.dumps(JOB[field])}, this one's {json.dumps(value)}" in str(error.value)
    assert tree(folder) == before


@pytest.mark.parametrize("content", ["", "{}", "[]", '{"job": 3}', "no JSON"])
def test_a_damaged_run_json_is_no_run(content: str, tmp_path: Path) -> None:
    (tmp_path / "run.json").write_text(content)
    with pytest.raises(UsageError, match="damaged"):
        RunDir(tmp_path).claim(JOB, resume=True)


@pytest.mark.parametrize("content", ["", "[]", "no JSON"])
def test_damaged_metrics_name_the_file_and_the_remedy(content: str, tmp_path: Path) -> None:
    (tmp_path / "metrics.json").write_text(content)
    assert RunDir(tmp_path).finished
    with pytest.raises(FileFormatError, match=r"metrics\.json is damaged: remove it and continue"):
        RunDir(tmp_path).read_metrics()


def test_metrics_with_a_wrong_value_name_it(tmp_path: Path) -> None:
    (tmp_path / "metrics.json").write_text('{"cost": 3}')
    with pytest.raises(FileFormatError, match=r"metrics\.json has a wrong holdout: remove it and continue"):
        read_result(RunDir(tmp_path))


def test_discarding_leaves_what_was_there_before(tmp_path: Path) -> None:
    made, kept = RunDir(tmp_path / "made"), RunDir(tmp_path / "kept")
    kept.path.mkdir()
    for rundir in (made, kept):
        rundir.claim(JOB, resume=False)
        (rundir.path / "parts").mkdir()
    made.discard()
    kept.discard(keep_folder=True)
    assert tree(tmp_path) == {"kept": None}
