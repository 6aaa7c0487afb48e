"""Results as tables."""

from __future__ import annotations

import io
from pathlib import Path
from types import SimpleNamespace

import pytest
from rich.console import Console

from distq.cli.tables import (
    print_demo_result,
    print_doctor_report,
    print_evaluate_result,
    print_run_result,
    print_source_info,
)
from distq.cli.tables_figures import compared_table
from distq.data.info import SourceInfo
from distq.jobs.doctor import Check, DoctorReport
from distq.run.figures import ComparedFigures
from distq.run.results import (
    Accuracy,
    Comparison,
    Cost,
    EvaluateResult,
    FloatAccuracy,
    FloatLayer,
    IntegerKernels,
    RunResult,
    SearchCost,
)

COST = Cost(fp32_forwards=692, int8_forwards=18233.4, seconds=4821, workers=1, peak_rss_mb=812.3)
BEFORE = Accuracy(nmse=0.00371, sqnr_db=24.31, cosine=0.998, top1=0.7812, top5=0.9)
AFTER = Accuracy(nmse=0.00315, sqnr_db=25.02, cosine=0.999, top1=0.79, top5=0.9)
FLOAT = FloatAccuracy(top1=0.8, top5=0.95)


@pytest.fixture
def console():
    return Console(file=io.StringIO(), width=80, color_system=None)


def result(**fields):
    return RunResult(
        **{"out": Path("run"), "files": (), "holdout": None, "tuning": None, "cost": COST, **fields}
    )


def cells(console, name):
    """The cells of the table's row that starts with a name."""
    for line in console.file.getvalue().splitlines():
        row = [cell.strip() for cell in line.strip("│").split("│")]
        if row[0] == name:
            return row[1:]
    return None


def test_a_tuned_run_has_three_rows(console):
    comparison = Comparison(images=1500, before=BEFORE, after=AFTER, float=FLOAT)
    print_run_result(result(holdout=comparison, tuning=comparison), console)
    assert "On 1,500 samples held out" in console.file.getvalue()
    assert cells(console, "float") == ["80.00%", "95.00%", "", "", ""]
    assert cells(console, "calibrated") == ["78.12%", "90.00%", "24.31", "0.00371", "0.998000"]
    assert cells(console, "tuned") == ["79.00%", "90.00%", "25.02", "0.00315", "0.999000"]


def test_without_labels_there_is_no_accuracy_column(console):
    unlabelled = Accuracy(nmse=0.01, sqnr_db=20.0, cosine=0.5)
    print_run_result(result(holdout=Comparison(images=1, before=unlabelled)), console)
    assert "top-1" not in console.file.getvalue()
    assert "On 1 sample held out" in console.file.getvalue()
    assert cells(console, "calibrated") == ["20.00", "0.01", "0.500000"]
    assert cells(console, "tuned") is None


def test_without_held_out_images_the_tuning_images_are_shown_and_said_so(console):
    print_run_result(result(tuning=Comparison(images=32, before=BEFORE)), console)
    assert "On the 32 samples tuned on (none were held out)" in console.file.getvalue()


def test_float_layers_are_gathered_by_reason(console):
    layers = [FloatLayer(name=f"prob_{index}", reason="Softmax") for index in range(5)]
    layers.append(FloatLayer(name="[up]", reason="ConvTranspose"))
    print_run_result(result(float_layers=tuple(layers)), console)
    text = console.file.getvalue()
    assert "6 layers stay float:\n" in text
    assert "  Softmax: prob_0, prob_1, prob_2 and 2 more\n" in text
    assert "  ConvTranspose: [up]\n" in text


def test_what_runs_on_integers_and_its_share_of_the_multiplications_are_said(console):
    ran = IntegerKernels(layers=98, of=101, multiplications=0.9725)
    print_run_result(result(integer_kernels=ran), console)
    assert "Integer kernels: 98 of 101 layers, 97.2 % of the multiplications" in console.file.getvalue()


def test_cost_warnings_and_files_are_shown(console):
    files = (Path("run") / ("x" * 100) / "model.int8.onnx",)
    print_run_result(result(files=files, warnings=("3 images [a, b, c] skipped",)), console)
    text = console.file.getvalue()
    assert "Cost: 692 float and 18,233 INT8 forwards, 1 h 20 min, 1 worker, 812 MB peak\n" in text
    assert "warning: 3 images [a, b, c] skipped\n" in text
    assert f"  {files[0]}\n" in text


def test_a_search_is_compared_with_a_serial_loop_over_the_same_candidates(console):
    search = SearchCost(candidates=947, dropped=600, int8_forwards=748.6, serial_forwards=18940, seconds=12.4)
    print_run_result(result(cost=COST.model_copy(update={"search": search})), console)
    lines = console.file.getvalue().splitlines()
    assert lines[-2:] == [
        "Search: 947 candidates scored, 600 dropped early, 749 INT8 forwards, 12 s",
        "Serial loop over the same candidates: 18,940 INT8 forwards, 25.3x as many",
    ]


def test_a_run_that_scored_nothing_is_compared_with_no_loop(console):
    search = SearchCost(candidates=0, dropped=0, int8_forwards=20, serial_forwards=0, seconds=0.1)
    print_run_result(result(cost=COST.model_copy(update={"search": search})), console)
    assert "erial" not in console.file.getvalue()


def test_eval_shows_both_models(console):
    print_evaluate_result(EvaluateResult(images=10, candidate=BEFORE, against=FLOAT), console)
    assert cells(console, "float") == ["80.00%", "95.00%", "", "", ""]
    assert cells(console, "candidate")[0] == "78.12%"


@pytest.mark.parametrize(
    ("after", "columns"), [(None, ["calibrated"]), ({"mae": 2.5}, ["calibrated", "tuned"])]
)
def test_a_measure_has_columns_for_what_was_measured_alone(after, columns, console):
    figures = ComparedFigures(
        measure="FILE.py", higher_is_better=False, float=None, before={"mae": 3.0}, after=after
    )
    console.print(compared_table([figures]))
    shown = [name for name in ("float", "calibrated", "tuned") if name in console.file.getvalue()]
    assert shown == columns


def test_the_demo_shows_its_run_and_all_files_it_wrote(console):
    shown = result(holdout=Comparison(images=3, before=BEFORE, after=AFTER, float=FLOAT))
    print_demo_result(SimpleNamespace(run=shown, files=(Path("demo/digits.lmdb"),)), console)
    assert cells(console, "tuned")[0] == "79.00%"
    assert "  demo/digits.lmdb\n" in console.file.getvalue()


def test_a_source_is_described_in_a_few_lines(console):
    info = SourceInfo(
        kind="npz",
        source="a.npz",
        count=2000,
        names=("0", "1"),
        shapes=(("3x4 float32",), ("3x4 float32",)),
        labels=False,
        bytes=3 << 20,
    )
    print_source_info(info, console)
    assert console.file.getvalue().splitlines() == [
        "a.npz: npz, 2,000 samples without labels, 3.0 MiB",
        "  0  3x4 float32",
        "  1  3x4 float32",
        "  and 1,998 more",
    ]


def test_hidden_files_that_a_folder_leaves_out_are_counted(console):
    info = SourceInfo("folder", "photos", 1, ("a.png",), (("4x5x3",),), labels=False, bytes=9, hidden=2)
    print_source_info(info, console)
    assert console.file.getvalue().startswith(
        "photos: folder, 1 sample without labels, 9 bytes; 2 hidden files left out\n"
    )


def test_doctor_marks_each_check_and_gives_the_remedy(console):
    checks = (
        Check(name="distq", value="1.0"),
        Check(name="memory", value="1 GiB", status="warn", remedy="close something"),
    )
    print_doctor_report(DoctorReport(checks=checks), console)
    lines = [line.split() for line in console.file.getvalue().splitlines()]
    assert lines == [["ok", "distq", "1.0"], ["warn", "memory", "1", "GiB"], ["→", "close", "something"]]
