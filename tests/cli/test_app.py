"""The command line: what it prints, where, and how it exits."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import cv2
import numpy as np
import pytest
from rich.text import Text

import distq
from distq.cli import app as cli
from distq.config import CalibrateOptions, CommonOptions, EvaluateOptions, TuneOptions
from distq.errors import ExecutionError, InterruptedRun, ModelError
from distq.run.results import Accuracy, Comparison, Cost, EvaluateResult, FloatAccuracy, RunResult

COMMANDS = [
    ["calibrate"],
    ["tune"],
    ["eval"],
    ["diff"],
    ["run"],
    ["demo"],
    ["doctor"],
    ["dataset"],
    ["dataset", "build"],
    ["dataset", "info"],
]
ACCURACY = Accuracy(nmse=0.01, sqnr_db=20.0, cosine=0.999)
RUN = RunResult(
    out=Path("run"),
    files=(Path("run/model.int8.onnx"),),
    holdout=Comparison(images=7, before=ACCURACY),
    tuning=None,
    cost=Cost(fp32_forwards=10, int8_forwards=20, seconds=3, workers=2, peak_rss_mb=100),
)


@pytest.fixture
def job(monkeypatch):
    """Replace a job by a function; returns the list of options it was called with."""

    def replace(name, outcome):
        calls = []

        def run(options, reporter, **_):
            reporter.start("calibrate", 1, "images")
            calls.append(options)
            if isinstance(outcome, BaseException):
                raise outcome
            reporter.warn("be careful")
            return outcome

        module = ModuleType(f"distq.jobs.{name}")
        setattr(module, name, run)
        monkeypatch.setitem(sys.modules, module.__name__, module)
        return calls

    return replace


def shown(capsys):
    """What was printed, without colours: (stdout, stderr)."""
    captured = capsys.readouterr()
    return Text.from_ansi(captured.out).plain, Text.from_ansi(captured.err).plain


def one_line(capsys):
    """The single line an error may take."""
    out, err = shown(capsys)
    assert out == ""
    lines = err.rstrip("\n").split("\n")
    assert len(lines) == 1
    assert lines[0].startswith("distq: ")
    return lines[0]


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_every_help_ends_with_an_example_that_stays_on_its_line(command, capsys):
    assert cli.invoke([*command, "--help"]) == 0
    lines = [line.strip() for line in shown(capsys)[0].splitlines() if line.strip()]
    start = lines.index("Example:")
    assert lines[start + 1].startswith(f"distq {' '.join(command)}")
    assert len(lines[start + 1]) <= 76
    assert start + 2 == len(lines)


def test_without_a_command_the_help_is_shown(capsys):
    assert cli.invoke([]) == 0
    out, _ = shown(capsys)
    assert all(command[0] in out for command in COMMANDS)


def test_version(capsys):
    assert cli.invoke(["--version"]) == 0
    assert shown(capsys)[0].startswith("distq ")


def test_choices_complete_in_the_shell(monkeypatch, capsys):
    monkeypatch.setenv("_DISTQ_COMPLETE", "complete_bash")
    monkeypatch.setenv("COMP_WORDS", "distq tune --method ")
    monkeypatch.setenv("COMP_CWORD", "3")
    with pytest.raises(SystemExit) as stop:
        cli.invoke([])
    assert stop.value.code == 0
    assert {"kl", "mse"} <= set(shown(capsys)[0].split())


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (["tune"], "MODEL"),
        (["tune", "m.onnx"], "--out"),
        (["eval", "m.onnx"], "--data"),
        (["tune", "m.onnx", "--out", "r", "--smaples", "3"], "--samples"),
        (["tune", "m.onnx", "--out", "r", "--method", "entropy"], "percentile"),
        (["tune", "m.onnx", "--out", "r", "--strategy", "best"], "bitmain"),
        (["tune", "m.onnx", "--out", "r", "--strategy", "tpu_mlir"], "tpu-mlir"),
        (["tune", "m.onnx", "--out", "r", "--effort", "6"], "--effort 6"),
        (["tune", "m.onnx", "--out", "r", "--samples", "many"], "--samples"),
        (["tune", "m.onnx", "--out", "r", "--samples", "-1"], "--samples -1"),
        (["tune", "m.onnx", "--out", "r", "--tune-samples", "0"], "--tune-samples 0"),
        (["calibrate", "m.onnx", "--out", "r", "--workers", "0"], "--workers 0"),
        (["calibrate", "m.onnx", "--out", "r", "--device", "gpu"], "cpu, auto, cuda or cuda:N"),
        (["calibrate", "m.onnx", "--out", "r", "--layers", "a"], "--layers"),
        (["run", "missing.yaml"], "missing.yaml"),
        (["tuen"], "tuen"),
        (["dataset"], "command"),
    ],
)
def test_bad_usage_exits_2_with_one_line_that_names_it(arguments, named, capsys):
    assert cli.invoke(arguments) == 2
    assert named in one_line(capsys)


@pytest.mark.parametrize(
    ("error", "code", "text"),
    [
        (ModelError("m.onnx is not an ONNX model: export it again"), 2, "m.onnx is not"),
        (ExecutionError("unit 3 failed"), 3, "unit 3 failed"),
        (ValueError("two\nlines"), 3, "ValueError: two lines; set DISTQ_DEBUG=1"),
        (KeyboardInterrupt(), 130, "interrupted: continue with the same command and --resume"),
    ],
)
def test_how_a_failing_job_exits(error, code, text, job, capsys):
    job("tune", error)
    assert cli.invoke(["tune", "m.onnx", "--out", "run", "--quiet"]) == code
    assert text in one_line(capsys)


def test_the_traceback_is_shown_on_request(job, capsys, monkeypatch):
    monkeypatch.setenv("DISTQ_DEBUG", "1")
    job("tune", ValueError("odd"))
    assert cli.invoke(["tune", "m.onnx", "--out", "run"]) == 3
    _, err = shown(capsys)
    assert "Traceback" in err
    assert err.rstrip().endswith("distq: failed with ValueError: odd")


@pytest.mark.parametrize("error", [KeyboardInterrupt(), InterruptedRun("interrupted: use --resume")])
def test_eval_cannot_be_resumed_and_does_not_say_so(error, job, capsys):
    job("evaluate", error)
    assert cli.invoke(["eval", "m.onnx", "--data", "d", "--quiet"]) == 130
    assert one_line(capsys) == "distq: interrupted"


def test_flags_become_options(job):
    calls = job("tune", RUN)
    line = "tune m.onnx --out run --layers a,b --int16-layers c --no-bias-correction --holdout-data d"
    assert (
        cli.invoke([*line.split(), "--shuffle", "--workers", "3", "--shard-size", "4", "--retries", "0"]) == 0
    )
    assert calls == [
        TuneOptions(
            model=Path("m.onnx"),
            out=Path("run"),
            layers=("a", "b"),
            int16_layers=("c",),
            bias_correction=False,
            holdout_data=Path("d"),
            shuffle=True,
            workers=3,
            shard_size=4,
            retries=0,
        )
    ]


def test_a_shape_is_given_again_for_each_input(job):
    calls = job("calibrate", RUN)
    line = "calibrate m.onnx --out run --input-shape x=1,3,8,8 --input-shape y=1,2 --float-layers a,b"
    assert cli.invoke([*line.split(), "--float-depthwise", "--concat", "tie", "--conv-groups", "4"]) == 0
    assert calls == [
        CalibrateOptions(
            model=Path("m.onnx"),
            out=Path("run"),
            input_shape={"x": [1, 3, 8, 8], "y": "1,2"},
            float_layers=("a", "b"),
            float_depthwise=True,
            concat="tie",
            conv_groups=4,
        )
    ]


def test_what_is_not_given_has_the_default_of_the_options(job):
    calls = job("calibrate", RUN), job("evaluate", EvaluateResult(images=1, candidate=None))
    assert cli.invoke(["calibrate", "m.onnx", "--out", "run"]) == 0
    assert cli.invoke(["eval", "m.onnx", "--data", "d"]) == 0
    assert calls[0] == [CalibrateOptions(model=Path("m.onnx"), out=Path("run"))]
    assert calls[1] == [EvaluateOptions(candidate=Path("m.onnx"), data=Path("d"))]


def test_json_is_one_document_on_stdout_and_progress_is_elsewhere(job, capsys):
    job("tune", RUN)
    assert cli.invoke(["tune", "m.onnx", "--out", "run", "--json"]) == 0
    captured = capsys.readouterr()
    document = json.loads(captured.out)
    assert document["holdout"]["before"]["sqnr_db"] == 20.0
    assert RunResult.model_validate(document) == RUN
    assert "calibrate: 1 images" in captured.err
    assert "\x1b" not in captured.err


def test_json_has_null_for_an_infinite_sqnr(job, capsys):
    exact = EvaluateResult(images=1, candidate=Accuracy(nmse=0.0, sqnr_db=float("inf"), cosine=1.0))
    job("evaluate", exact)
    assert cli.invoke(["eval", "m.onnx", "--data", "d", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["candidate"]["sqnr_db"] is None


def test_quiet_prints_warnings_only(job, capsys):
    job("tune", RUN)
    assert cli.invoke(["tune", "m.onnx", "--out", "run", "--quiet"]) == 0
    assert shown(capsys) == ("", "warning: be careful\n")


def test_the_result_is_a_table(job, capsys):
    job("tune", RUN)
    assert cli.invoke(["tune", "m.onnx", "--out", "run"]) == 0
    out, _ = shown(capsys)
    assert "On 7 samples held out" in out
    assert "run/model.int8.onnx" in out


def test_eval_shows_its_accuracy(job, capsys):
    job("evaluate", EvaluateResult(images=5, candidate=FloatAccuracy(top1=0.6, top5=1.0)))
    assert cli.invoke(["eval", "m.onnx", "--data", "d"]) == 0
    assert "60.00%" in shown(capsys)[0]


def test_run_takes_a_job_file_and_flags_replace_what_it_says(job, tmp_path):
    calls = job("tune", RUN)
    path = tmp_path / "job.yaml"
    path.write_text("command: tune\nmodel: m.onnx\nout: run\nexecutor: ray\nworkers: 2\n")
    assert cli.invoke(["run", str(path), "--executor", "local", "--out", "elsewhere", "--resume"]) == 0
    expected = TuneOptions(
        model=tmp_path / "m.onnx", out=Path("elsewhere"), executor="local", workers=2, resume=True
    )
    assert calls == [expected]


def test_a_job_file_can_ask_for_json(job, tmp_path, capsys):
    job("tune", RUN)
    path = tmp_path / "job.yaml"
    path.write_text("command: tune\nmodel: m.onnx\nout: run\njson: true\n")
    assert cli.invoke(["run", str(path)]) == 0
    assert json.loads(capsys.readouterr().out)["out"] == "run"


def test_doctor_exits_3_when_something_essential_is_missing(capsys):
    assert cli.invoke(["doctor", "--address", "127.0.0.1:1", "--json"]) == 3
    checks = {check["name"]: check for check in json.loads(capsys.readouterr().out)["checks"]}
    assert checks["Ray address"]["status"] == "missing"
    assert checks["Ray address"]["remedy"]


@pytest.fixture
def photos(tmp_path):
    """A folder with two images and a list of them and of one that is missing."""
    for name in ("a.png", "b.png"):
        cv2.imwrite(str(tmp_path / name), np.full((4, 6, 3), 7, np.uint8))
    (tmp_path / "list.txt").write_text("a.png 0\nb.png 1\nnone.png 1\n")
    return tmp_path


def test_dataset_build_makes_a_database_that_info_describes(photos, capsys):
    line = ["dataset", "build", str(photos), str(photos / "list.txt"), str(photos / "db"), "--json"]
    flags = ["--gray", "--shuffle", "--resize_width=5", "--resize_height", "3", "--check_size"]
    assert cli.invoke([*line, *flags, "--backend", "lmdb", "--seed", "1"]) == 0
    captured = capsys.readouterr()
    built = json.loads(captured.out)
    assert (built["written"], built["skipped"]) == (2, 1)
    assert "none.png" in captured.err
    assert cli.invoke(["dataset", "info", str(photos / "db"), "--json"]) == 0
    info = json.loads(capsys.readouterr().out)
    assert (info["kind"], info["count"], info["labels"]) == ("lmdb", 2, True)


def test_dataset_commands_speak_to_a_person(photos, capsys):
    assert cli.invoke(["dataset", "build", str(photos), str(photos / "list.txt"), str(photos / "db")]) == 0
    assert "db: 2 records, 1 unreadable sample left out" in shown(capsys)[0]
    assert cli.invoke(["dataset", "info", str(photos)]) == 0
    out, _ = shown(capsys)
    assert "folder, 2 samples without labels" in out
    assert "a.png  4x6x3" in out


@pytest.mark.parametrize(
    ("flags", "named"),
    [
        (["--backend", "leveldb"], "leveldb"),
        (["--resize_width", "4"], "resize_height"),
        (["--resize_width", "-4", "--resize_height", "4"], "--resize_width -4"),
        (["--encode_type", "odd"], "odd"),
        (["--resize-width", "4"], "--resize-width"),
    ],
)
def test_bad_flags_of_dataset_build_are_one_line(flags, named, photos, capsys):
    arguments = ["dataset", "build", str(photos), str(photos / "list.txt"), str(photos / "db")]
    assert cli.invoke([*arguments, *flags]) == 2
    assert named in one_line(capsys)
    assert not (photos / "db").exists()


def test_a_database_that_exists_is_left_before_anything_is_begun(photos, capsys):
    (photos / "db").mkdir()
    assert cli.invoke(["dataset", "build", str(photos), str(photos / "list.txt"), str(photos / "db")]) == 2
    assert "db exists: choose another name" in one_line(capsys)


def test_common_options_are_those_of_every_job():
    assert set(CommonOptions.model_fields) <= set(EvaluateOptions.model_fields)


def test_a_job_is_told_which_options_were_given(job):
    calls = job("tune", RUN)
    line = ["tune", "m.onnx", "--out", "run", "--samples", "128", "--no-bias-correction", "--shuffle"]
    assert cli.invoke(line) == 0
    assert calls[0].model_fields_set == {"model", "out", "samples", "bias_correction", "shuffle"}


ENDING = """
import atexit, sys, threading
from distq.cli import app as cli
atexit.register(print, "last")
threading.Thread(target=threading.Event().wait, daemon=True).start()
sys.argv = ["distq", *{arguments!r}]
cli.main()
"""


@pytest.mark.parametrize(("arguments", "code"), [(["--version"], 0), (["tune", "--nothing"], 2)])
def test_nothing_is_lost_when_the_command_ends(arguments, code):
    command = [sys.executable, "-c", ENDING.format(arguments=arguments)]
    run = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603  # our own code
    assert run.returncode == code
    assert run.stdout.splitlines() == [*([f"distq {distq.__version__}"] if code == 0 else []), "last"]


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="a full disk is needed")
def test_a_result_that_cannot_be_written_is_a_failure():
    with Path("/dev/full").open("w") as full:
        command = [sys.executable, "-m", "distq", "--version"]
        run = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, text=True, check=False)  # noqa: S603  # our own code
    assert run.returncode == 3
    assert "No space left on device" in run.stderr
    assert run.stderr.count("\n") == 1
