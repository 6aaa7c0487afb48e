"""Sweeps: many runs on the same workers."""

from __future__ import annotations

import csv
import json
from collections import Counter

import onnx
import pytest
from job_helpers import read_json, use_watched

import distq
from distq.cli.app import invoke
from distq.errors import InterruptedRun, UsageError
from distq.jobs.calibrate import calibrate
from distq.run.results import Accuracy
from distq.sweeps.results import SweepRow, ranked

FILES = ("thresholds.json", "model.int8.onnx")


def broken(content):
    """The same, with a run that fails: it has no such samples to hold out."""
    return {**content, "include": [{"holdout": 100, "name": "greedy"}]}


class TestSharing:
    def test_runs_have_the_bytes_they_have_alone(self, content, model, data, tmp_path):
        content["include"] = [{"command": "tune", "tune_samples": 4, "effort": 1, "name": "tuned"}]
        result = distq.sweep(content)
        assert not result.failed
        for row in result.rows:
            alone = tmp_path / f"alone-{row.name}"
            job = distq.tune if row.command == "tune" else distq.calibrate
            options = (
                {"tune_samples": 4, "effort": 1}
                if row.command == "tune"
                else {name: row.varied[name] for name in ("method", "scheme")}
            )
            expected = job(model=model, data=data, samples=8, executor="local", out=alone, **options)
            for name in FILES:
                assert (row.out / name).read_bytes() == (alone / name).read_bytes()
            assert row.accuracy == (expected.holdout.after or expected.holdout.before)
            assert row.cost.fp32_forwards == expected.cost.fp32_forwards

    def test_what_the_float_network_gives_is_computed_once(self, content, watch):
        ran = watch()
        content["matrix"] = {"method": ["kl", "mse", "max"]}
        distq.sweep(content)
        first = Counter(ran)
        assert max(first.values()) == 1
        alone = watch()
        distq.calibrate(
            model=content["model"],
            data=content["data"],
            samples=8,
            out=f"{content['out']}-alone",
            method="kl",
        )
        float_units = 2  # observe and float means; eight samples are one shard
        assert len(ran) == 3 * len(alone) - 2 * float_units

    def test_other_samples_are_not_taken_for_the_same(self, content, model, data, tmp_path):
        content["matrix"] = {"shuffle": [False, True]}
        result = distq.sweep(content)
        for row in result.rows:
            alone = tmp_path / f"alone-{row.name}"
            distq.calibrate(
                model=model, data=data, samples=8, executor="local", out=alone, shuffle=row.varied["shuffle"]
            )
            assert (row.out / FILES[0]).read_bytes() == (alone / FILES[0]).read_bytes()


class TestFailures:
    def test_a_run_that_fails_leaves_the_others_alone(self, content):
        result = distq.sweep(broken(content))
        (failed,) = result.failed
        assert failed.name == "greedy"
        assert "held" in failed.error
        assert result.rows[-1] == failed
        assert all((row.out / "metrics.json").is_file() for row in result.rows[:-1])

    def test_a_fault_of_a_run_does_not_end_the_sweep(self, content, monkeypatch):
        def calibrate(*_):
            raise RuntimeError("two\nlines")

        monkeypatch.setattr("distq.jobs.calibrate.calibrate", calibrate)
        assert {row.error for row in distq.sweep(content).rows} == {"two lines"}


@pytest.mark.usefixtures("ray_session")
class TestSideBySide:
    """On more than one worker, runs go on at the same time."""

    @pytest.fixture
    def parallel(self, content, monkeypatch, model, tmp_path):
        monkeypatch.setattr("distq.sweeps.runs.machine_cores", lambda: 2)
        other = tmp_path / "other.onnx"
        proto = onnx.load(model)
        proto.doc_string = "another network"
        onnx.save(proto, other)
        content["matrix"] |= {"model": [str(model), str(other)]}
        return {**content, "executor": "ray", "workers": 2, "out": str(tmp_path / "parallel")}

    def test_runs_have_the_bytes_they_have_one_by_one_and_nothing_is_computed_twice(self, parallel, content):
        alone = distq.sweep(content)
        together = distq.sweep(parallel)
        assert not together.failed
        assert [row.network for row in together.rows] == [0] * 4 + [1] * 4
        for expected in alone.rows:
            (row,) = (row for row in together.rows if row.name == expected.name)
            assert row.accuracy == expected.accuracy
            for name in FILES:
                assert (row.out / name).read_bytes() == (expected.out / name).read_bytes()
        keys = [record["key"] for record in records(together.out) if record["type"] == "unit"]
        assert len(keys) == len(set(keys)) > 0
        assert not (together.out / "parts").exists()

    def test_results_that_several_networks_share_stay_until_the_last_is_over(self, parallel):
        parallel["matrix"] = {"holdout": [1, 2, 3], "method": ["kl", "mse"]}
        assert not distq.sweep(parallel).failed

    def test_a_run_that_fails_leaves_the_others_alone(self, parallel):
        parallel["matrix"]["method"] = ["kl"]
        result = distq.sweep(broken(parallel))
        assert [row.name for row in result.failed] == ["greedy"]
        assert len(result.rows) == 5

    def test_an_interrupted_sweep_goes_on_where_it_was(self, parallel, monkeypatch):
        begun = []

        def interrupted(options, reporter, shared):
            begun.append(options.out)
            if len(begun) == 4:
                raise InterruptedRun("interrupted")
            return calibrate(options, reporter, shared)

        with monkeypatch.context() as patch:
            patch.setattr("distq.jobs.calibrate.calibrate", interrupted)
            with pytest.raises(InterruptedRun):
                distq.sweep(parallel)
        assert len(begun) < 8
        result = distq.sweep(parallel, resume=True)
        assert not result.failed
        assert len(result.rows) == 8


def records(folder):
    """Of a journal."""
    return [json.loads(line)["record"] for line in (folder / "journal.jsonl").read_text().splitlines()]


class TestResume:
    def test_an_interrupted_sweep_goes_on_where_it_was(self, content, tmp_path, monkeypatch):
        ran: list[str] = []
        use_watched(monkeypatch, ran)
        whole = distq.sweep({**content, "out": str(tmp_path / "whole")})
        first: list[str] = []
        use_watched(monkeypatch, first, stop_after=len(ran) // 2)
        with pytest.raises(InterruptedRun):
            distq.sweep(content)
        second: list[str] = []
        use_watched(monkeypatch, second)
        result = distq.sweep(content, resume=True)
        assert Counter(first + second) == Counter(ran)
        assert {row.name: row.accuracy for row in result.rows} == {
            row.name: row.accuracy for row in whole.rows
        }
        for row in whole.rows:
            for name in FILES:
                assert (row.out / name).read_bytes() == (tmp_path / "sweep" / row.name / name).read_bytes()

    def test_a_finished_sweep_is_read_and_new_runs_are_added(self, content, watch):
        first = distq.sweep(content)
        ran = watch()
        assert [row.seconds for row in distq.sweep(content, resume=True).rows] == [
            row.seconds for row in first.rows
        ]
        assert not ran
        content["matrix"]["method"].append("max")
        assert len(distq.sweep(content, resume=True).rows) == 6
        assert ran

    def test_a_run_that_is_another_by_now_fails_by_name(self, content):
        distq.sweep(content)
        content["samples"] = 6
        result = distq.sweep(content, resume=True)
        assert all("holds another job" in row.error for row in result.rows)

    def test_a_folder_that_is_taken_is_refused(self, content, tmp_path):
        (tmp_path / "sweep").mkdir()
        (tmp_path / "sweep/mine").touch()
        for resume in (False, True):
            with pytest.raises(UsageError, match="exists and is no folder of a sweep: give another --out"):
                distq.sweep(content, resume=resume)

    def test_a_single_run_is_not_continued_as_a_sweep(self, content, calibrated):
        with pytest.raises(UsageError, match="is a single run, not the folder of a sweep"):
            distq.sweep(content, out=calibrated.out, resume=True)


class TestPlan:
    def test_forwards_are_those_of_the_runs(self, content):
        plan = distq.plan_sweep(content)
        rows = {row.name: row for row in distq.sweep(content).rows}
        for run in plan.runs:
            assert run.fp32_forwards == rows[run.name].cost.fp32_forwards
        assert [run.shared_forwards for run in plan.runs] == [0, 16, 16, 16]
        assert plan.fp32_forwards == sum(run.fp32_forwards for run in plan.runs) - 48

    def test_a_search_costs_more_with_more_effort(self, content):
        content |= {"command": "tune", "tune_samples": 4, "matrix": {"effort": [1, 5]}}
        few, many = distq.plan_sweep(content).runs
        assert few.int8_forwards < many.int8_forwards

    def test_nothing_is_written_and_faults_and_finished_runs_are_told(self, content, tmp_path):
        plan = distq.plan_sweep(broken(content))
        assert not (tmp_path / "sweep").exists()
        assert [run.error is None for run in plan.runs] == [True] * 4 + [False]
        distq.sweep(content)
        done = distq.plan_sweep(content)
        assert all(run.finished for run in done.runs)
        assert (done.fp32_forwards, done.int8_forwards) == (0, 0)


class TestResults:
    def test_files_hold_every_run(self, content, tmp_path):
        result = distq.sweep(broken(content))
        stored = read_json(tmp_path / "sweep/results.json")
        assert [row["name"] for row in stored["rows"]] == [row.name for row in result.rows]
        with (tmp_path / "sweep/results.csv").open(newline="") as stream:
            rows = list(csv.DictReader(stream))
        assert [row["name"] for row in rows] == [row.name for row in result.rows]
        assert float(rows[0]["sqnr_db"]) == result.rows[0].accuracy.sqnr_db
        assert rows[0]["varied.method"] == result.rows[0].varied["method"]
        assert rows[-1]["error"] == result.rows[-1].error

    @pytest.mark.parametrize(
        ("figures", "best"),
        [
            ([(30, 5.0), (20, 1.0), (20, 2.0), (10, 3.0)], [True, True, False, False]),
            ([(30, 5.0), (30, 5.0)], [True, True]),
            ([(float("inf"), 5.0), (float("inf"), 4.0)], [False, True]),
        ],
    )
    def test_the_pareto_front_is_marked(self, figures, best, tmp_path):
        rows = [
            SweepRow(
                name=str(number),
                network=0,
                command="calibrate",
                varied={},
                out=tmp_path,
                accuracy=Accuracy(nmse=0.1, sqnr_db=closeness, cosine=1.0),
                seconds=seconds,
                float_layers=0,
            )
            for number, (closeness, seconds) in enumerate(figures)
        ]
        marks = {row.name: row.best_for_time for row in ranked(rows)}
        assert [marks[str(number)] for number in range(len(rows))] == best

    def test_only_runs_of_one_network_are_compared(self, content, model, tmp_path):
        other = tmp_path / "copy.onnx"
        other.write_bytes(model.read_bytes())
        content["matrix"] = {"model": [str(model), str(other)]}
        rows = distq.sweep(content).rows
        assert [row.network for row in rows] == [0, 1]
        assert all(row.best_for_time for row in rows)


class TestCommand:
    @pytest.fixture
    def file(self, model, data, tmp_path):
        path = tmp_path / "sweep.yaml"
        path.write_text(
            f"command: calibrate\nmodel: {model}\ndata: {data}\nsamples: 8\nout: sweep\nexecutor: local\n"
            "matrix:\n  method: [kl, mse]\n"
        )
        return path

    def test_a_table_and_the_files(self, file, capsys):
        assert invoke(["sweep", str(file)]) == 0
        shown = capsys.readouterr().out
        assert "On 4 samples held out" in shown
        assert "2 of 2 runs complete" in shown
        assert "results.csv" in shown

    def test_a_failed_run_is_exit_code_3(self, file, capsys):
        file.write_text(file.read_text() + "include:\n  - {holdout: 100, name: greedy}\n")
        assert invoke(["sweep", str(file)]) == 3
        shown = capsys.readouterr().out
        assert "failed: greedy:" in shown
        assert "2 of 3 runs complete" in shown

    def test_a_bad_file_is_exit_code_2_and_one_line(self, file, capsys):
        file.write_text(file.read_text() + "metod: kl\n")
        assert invoke(["sweep", str(file)]) == 2
        assert capsys.readouterr().err == f"distq: {file}: unknown key metod: did you mean method?\n"

    def test_a_dry_run_shows_the_runs_and_their_forwards(self, file, capsys, tmp_path):
        assert invoke(["sweep", str(file), "--dry-run"]) == 0
        shown = capsys.readouterr().out
        assert "2 runs to do: 40 float and about" in shown
        assert not (tmp_path / "sweep").exists()
