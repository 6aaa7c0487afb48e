"""Commands that run no network are commands of job files too: export, report and convert."""

from __future__ import annotations

from pathlib import Path

import pytest

from distq.cli.app import invoke
from distq.run.results import RunResult


@pytest.fixture
def job(tmp_path: Path, calibrated: RunResult) -> Path:
    """Where a job file is to be, beside a run."""
    (tmp_path / "run").symlink_to(calibrated.out)
    return tmp_path / "job.yaml"


@pytest.mark.parametrize(
    ("text", "written"),
    [
        ("command: export\nrun: run\nout: so-far\nbest_so_far: true\n", "so-far/model.int8.onnx"),
        ("command: report\nruns: run\nout: page.html\nimages: false\n", "page.html"),
        ("command: report\nruns: [run, run]\nout: page.html\n", "page.html"),
        ("command: convert\nsource: run\nto: tensorrt\nout: net.cache\n", "net.cache"),
        ("command: convert\nsource: run/thresholds.json\nfrom: distq\nto: csv\nout: t.csv\n", "t.csv"),
    ],
)
def test_a_job_file_does_what_the_command_does(
    job: Path, text: str, written: str, capsys: pytest.CaptureFixture[str]
) -> None:
    job.write_text(text)
    assert invoke(["run", str(job)]) == 0, capsys.readouterr().err
    assert (job.parent / written).stat().st_size > 0
    assert written.split("/", maxsplit=1)[0] in capsys.readouterr().out


@pytest.mark.parametrize(
    ("text", "flags", "said"),
    [
        ("command: report\nruns: run\nout: p.html\n", ["--workers", "2"], "unknown option workers"),
        ("command: report\nout: p.html\n", [], "runs is missing"),
        ("command: convert\nsource: run\nto: nothing\nout: t\n", [], "nothing"),
        ("command: convert\nsource: n.onnx\nto: csv\nout: t\n", [], "is a network already"),
    ],
)
def test_what_is_wrong_is_said_in_one_line(
    job: Path, text: str, flags: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    job.write_text(text)
    assert invoke(["run", str(job), *flags]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert said in line


def test_they_are_not_submitted(job: Path, capsys: pytest.CaptureFixture[str]) -> None:
    job.write_text("command: report\nruns: run\nout: p.html\n")
    assert invoke(["submit", str(job), "--address", "http://127.0.0.1:1"]) == 2
    assert "unknown command 'report'" in capsys.readouterr().err
