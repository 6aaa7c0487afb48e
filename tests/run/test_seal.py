"""A finished run knows its own files: a flipped bit is found, and made good where it can be."""

from __future__ import annotations

import random
import shutil
from pathlib import Path

import pytest
from job_helpers import bits, read_json, tree

import distq
from distq.cli.app import invoke
from distq.errors import FileFormatError
from distq.files import sha256_file
from distq.run import seal
from distq.run.results import RunResult
from distq.run.rundir import RunDir
from distq.run.seal import damaged_files, read_sealed, require_undamaged, sealed
from distq.submission.archive import write_run

FILES = ("model.int8.onnx", "thresholds.json", "distributions.npz", "metrics.json")


@pytest.fixture
def run(calibrated: RunResult, tmp_path: Path) -> Path:
    """A copy of a finished run."""
    return Path(shutil.copytree(calibrated.out, tmp_path / "run"))


def flip(path: Path, choice: random.Random) -> None:
    data = bytearray(path.read_bytes())
    data[choice.randrange(len(data))] ^= 1 << choice.randrange(8)
    path.write_bytes(data)


def resume(model: Path, data: Path, run: Path) -> int:
    arguments = ["calibrate", model, "--data", data, "--samples", 8, "--out", run]
    return invoke([*map(str, arguments), "--executor", "local", "--resume", "--quiet"])


@pytest.mark.parametrize("name", [*FILES, "run.json"])
def test_every_flipped_bit_is_found(run: Path, name: str) -> None:
    whole = (run / name).read_bytes()
    assert damaged_files(run) == ()
    for seed in range(30):
        flip(run / name, random.Random(seed))  # noqa: S311  # which bit, no secret
        if name == "run.json":
            with pytest.raises(ValueError):  # noqa: PT011  # JSON's own, that of UTF-8, or ours
                read_sealed(run / name)
        else:
            assert damaged_files(run) == (run / name,)
        (run / name).write_bytes(whole)


@pytest.mark.parametrize("name", FILES)
def test_resume_makes_a_damaged_file_again(
    run: Path, model: Path, data: Path, capsys: pytest.CaptureFixture[str], name: str
) -> None:
    before = {**bits(run), "holdout": read_json(run / "metrics.json")["holdout"]}
    flip(run / name, random.Random(7))  # noqa: S311  # which bit, no secret
    assert resume(model, data, run) == 0
    assert capsys.readouterr().err.count(f"{name} of the finished run damaged or gone; made again") == 1
    assert {**bits(run), "holdout": read_json(run / "metrics.json")["holdout"]} == before
    assert damaged_files(run) == ()
    assert resume(model, data, run) == 0
    assert capsys.readouterr().err == ""


def test_a_file_that_is_gone_is_made_again(run: Path, model: Path, data: Path) -> None:
    before = bits(run)
    (run / "model.int8.onnx").unlink()
    assert resume(model, data, run) == 0
    assert bits(run) == before


def test_what_says_whose_run_it_is_cannot_be_made_again(
    run: Path, model: Path, data: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    record = run / "run.json"
    record.write_bytes(record.read_bytes().replace(b'"seed": 0', b'"seed": 1'))
    left = tree(run)
    assert resume(model, data, run) == 2
    assert capsys.readouterr().err == (
        f"distq: {record} is damaged, or not of a run of distq: give another --out\n"
    )
    assert tree(run) == left


def test_who_reads_a_damaged_file_of_a_run_is_told(
    run: Path, model: Path, data: Path, tmp_path: Path
) -> None:
    for name in FILES[:3]:
        flip(run / name, random.Random(3))  # noqa: S311  # which bit, no secret
    given = {"data": data, "executor": "local"}
    new = tmp_path / "new"
    with pytest.raises(FileFormatError, match=r"model\.int8\.onnx is not what its run wrote: .* --resume"):
        distq.evaluate(candidate=run / "model.int8.onnx", against=model, **given)
    with pytest.raises(FileFormatError, match=r"thresholds\.json is not what its run wrote"):
        distq.calibrate(model=model, table=run / "thresholds.json", out=new, **given)
    with pytest.raises(FileFormatError, match=r"distributions\.npz is not what its run wrote"):
        distq.calibrate(model=model, load_dist=run / "distributions.npz", out=new)
    with pytest.raises(FileFormatError, match=r"model\.int8\.onnx is not what its run wrote"):
        write_run(run, lambda _: None)


def test_a_copy_elsewhere_is_taken_as_it_is(run: Path, tmp_path: Path) -> None:
    (tmp_path / "thresholds.json").write_text("{}")
    require_undamaged(tmp_path / "thresholds.json")
    (run / "thresholds.json").write_text("{}")
    (run / "run.json").write_text("{")
    with pytest.raises(FileFormatError, match=r"run\.json is damaged, so thresholds\.json cannot be checked"):
        require_undamaged(run / "thresholds.json")


def test_a_run_of_an_earlier_version_says_nothing_of_its_files(run: Path) -> None:
    content = read_json(run / "run.json")
    for name in ("files", "sha256"):
        del content[name]
    RunDir(run).run.write_bytes(sealed(content).replace(b'"sha256"', b'"other"'))
    (run / "thresholds.json").write_text("{}")
    assert damaged_files(run) == ()


def test_each_file_is_hashed_once_where_all_are_checked(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    hashed: list[str] = []

    def counting(path: Path) -> str:
        hashed.append(path.name)
        return sha256_file(path)

    monkeypatch.setattr(seal, "sha256_file", counting)
    require_undamaged(*RunDir(run).files())
    assert len(hashed) == len(set(hashed)) > 3
    hashed.clear()
    require_undamaged(run / "thresholds.json")
    assert hashed == ["thresholds.json"]
