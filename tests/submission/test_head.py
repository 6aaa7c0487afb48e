"""Jobs on a cluster, against a stand-in that keeps them in memory."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

import distq
from distq.cli.app import invoke
from distq.engine.ray_jobs import ClusterJob
from distq.errors import ExecutionError, UsageError
from distq.jobs.watch import STATUS
from distq.run.watching import Status
from distq.submission import head
from distq.submission.archive import write_run


class Cluster:
    """Keeps jobs; ``statuses`` and ``logs`` are what the next ones become."""

    address = "http://head:8265"
    guarded = True

    def __init__(self) -> None:
        self.jobs: dict[str, ClusterJob] = {}
        self.logs: dict[str, str] = {}
        self.commands: dict[str, str] = {}
        self.next = {"status": "RUNNING", "exit_code": None, "log": "", "message": ""}

    def __call__(self, address: str | None) -> Cluster:
        del address
        return self

    def submit(self, job_id, command, metadata, **_: object) -> None:
        fields = {name: value for name, value in self.next.items() if name != "log"}
        self.jobs[job_id] = ClusterJob(id=job_id, metadata=metadata, started=0.0, ended=None, **fields)
        self.logs[job_id], self.commands[job_id] = str(self.next["log"]), command

    def list(self) -> list[ClusterJob]:
        return list(self.jobs.values())

    def get(self, job_id: str) -> ClusterJob:
        if job_id not in self.jobs:
            raise UsageError(f"{self.address} knows no job {job_id}: see 'distq jobs'")
        return self.jobs[job_id]

    def stop(self, job_id: str) -> bool:
        self.become(job_id, "STOPPED")
        return True

    def follow(self, job_id: str) -> Iterator[str]:
        yield self.logs[job_id]

    def become(self, job_id: str, status: str) -> None:
        self.jobs[job_id] = self.jobs[job_id].model_copy(update={"status": status})


@pytest.fixture
def there(monkeypatch: pytest.MonkeyPatch) -> Cluster:
    cluster = Cluster()
    monkeypatch.setattr(head, "RayJobs", cluster)
    return cluster


@pytest.fixture
def job_file(tmp_path: Path) -> str:
    path = tmp_path / "job.yaml"
    path.write_text("command: tune\nmodel: /c/m.onnx\ndata: /c/photos\nout: /c/runs/a run\n")
    return str(path)


def test_a_running_job_is_found_again_and_one_that_is_over_gets_a_new_attempt(there, job_file) -> None:
    assert invoke(["submit", job_file]) == 0
    (first,) = there.jobs
    assert invoke(["submit", job_file]) == 0
    assert list(there.jobs) == [first], "it runs: nothing new was submitted"
    there.become(first, "FAILED")
    assert invoke(["submit", job_file]) == 0
    there.become(f"{first}.2", "STOPPED")
    assert invoke(["submit", job_file]) == 0
    assert list(there.jobs) == [first, f"{first}.2", f"{first}.3"]
    assert set(there.commands.values()) == {"distq run job.yaml --resume"}


def test_following_shows_what_the_job_prints(there, job_file, capsys) -> None:
    there.next = {**there.next, "status": "SUCCEEDED", "exit_code": 0, "log": "calibrate: 64 images\n"}
    assert invoke(["submit", job_file, "--follow"]) == 0
    assert capsys.readouterr().out.startswith("calibrate: 64 images\n")


@pytest.mark.parametrize(
    ("ending", "message"),
    [
        (
            {"status": "FAILED", "exit_code": 2, "log": "distq: cannot read the model /c/m.onnx\n"},
            "failed on the cluster: cannot read the model /c/m.onnx",
        ),
        (
            {"status": "FAILED", "exit_code": 127},
            "the head has no command distq: install distq on every node",
        ),
        ({"status": "FAILED", "message": "the node\n died"}, "failed on the cluster: the node died"),
        ({"status": "STOPPED"}, "was cancelled: submit it again to continue"),
    ],
)
def test_a_followed_job_that_fails_ends_with_3_and_its_reason(
    there, job_file, capsys, ending, message
) -> None:
    there.next = {**there.next, **ending}
    assert invoke(["submit", job_file, "--follow", "--quiet"]) == 3
    error = capsys.readouterr().err
    assert error.startswith("distq: distq-")
    assert message in error
    assert error.count("\n") == 1


def test_a_cluster_without_a_token_is_warned_of(there, job_file, capsys) -> None:
    there.guarded = False
    assert invoke(["submit", job_file]) == 0
    assert "asks for no token: whoever reaches it can run code there" in capsys.readouterr().err


def test_jobs_lists_those_of_distq_only(there, job_file, capsys) -> None:
    assert invoke(["jobs"]) == 0
    assert capsys.readouterr().out == "No jobs of distq on this cluster\n"
    there.submit("raysubmit_1", "sleep 1", {})
    there.submit("distq-fetch-1.1", "distq print-run /c", {})
    assert invoke(["submit", job_file, "--quiet"]) == 0
    assert invoke(["jobs"]) == 0
    (line,) = capsys.readouterr().out.splitlines()
    assert "RUNNING" in line
    assert line.endswith("tune  /c/runs/a run")


def test_cancel_ends_a_job_once(there, job_file, capsys) -> None:
    assert invoke(["submit", job_file, "--quiet"]) == 0
    (job_id,) = there.jobs
    assert invoke(["cancel", job_id]) == 0
    assert "STOPPED" in capsys.readouterr().out
    assert invoke(["cancel", job_id]) == 2
    assert f"{job_id} is over already: STOPPED" in capsys.readouterr().err


def test_fetch_waits_for_nobody(there, job_file, capsys, tmp_path) -> None:
    assert invoke(["submit", job_file, "--quiet"]) == 0
    (job_id,) = there.jobs
    assert invoke(["fetch", job_id, "--out", str(tmp_path / "got")]) == 2
    assert f"{job_id} is RUNNING: RUN is fetched when the job is over" in capsys.readouterr().err
    assert not (tmp_path / "got").exists()


@pytest.mark.parametrize("verb", ["cancel", "fetch"])
def test_a_job_that_is_unknown_or_not_ours_is_refused(there, verb, capsys) -> None:
    assert invoke([verb, "distq-none"]) == 2
    assert "knows no job distq-none" in capsys.readouterr().err
    there.submit("raysubmit_1", "sleep 1", {})
    assert invoke([verb, "raysubmit_1"]) == 2
    assert "raysubmit_1 was not submitted by distq" in capsys.readouterr().err


def test_fetch_makes_a_folder_of_the_files_or_none(there, job_file, capsys, tmp_path) -> None:
    run = tmp_path / "there"
    run.mkdir()
    (run / "run.json").write_text("{}")
    (run / "metrics.json").write_text("{}")
    parts: list[str] = []
    write_run(run, parts.append)
    there.next = {**there.next, "status": "SUCCEEDED", "log": "".join(parts)}
    assert invoke(["submit", job_file, "--quiet"]) == 0
    (job_id,) = there.jobs
    out = tmp_path / "got"
    assert invoke(["fetch", job_id, "--out", str(out)]) == 0
    assert sorted(path.name for path in out.iterdir()) == ["metrics.json", "run.json"]
    assert there.commands[list(there.jobs)[-1]] == "distq print-run '/c/runs/a run'"
    assert invoke(["fetch", job_id, "--out", str(out)]) == 2
    assert "exists: give another --out" in capsys.readouterr().err

    there.next = {**there.next, "status": "FAILED", "log": "distq: /c/runs/a run holds no run of distq\n"}
    assert invoke(["fetch", job_id, "--out", str(tmp_path / "again")]) == 3
    assert "failed on the cluster: /c/runs/a run holds no run of distq" in capsys.readouterr().err
    assert not (tmp_path / "again").exists()
    assert not list(tmp_path.glob(".again*"))


def test_a_job_without_run_has_nothing_to_fetch(there, tmp_path, capsys) -> None:
    path = tmp_path / "eval.yaml"
    path.write_text("command: eval\ncandidate: /c/m.onnx\ndata: /c/photos\n")
    there.next = {**there.next, "status": "SUCCEEDED"}
    assert invoke(["submit", str(path), "--quiet"]) == 0
    assert invoke(["fetch", *there.jobs]) == 2
    assert "has no RUN: 'distq eval' only prints its result" in capsys.readouterr().err


def test_of_two_that_submit_one_job_at_once_both_are_told_that_it_runs(
    there, job_file, capsys, monkeypatch
) -> None:
    submit = there.submit

    def refuse(job_id, command, metadata, **rest: object) -> None:
        submit(job_id, command, metadata, **rest)  # the other one was a moment quicker
        raise ExecutionError("http://head:8265 refuses: without a reason")

    monkeypatch.setattr(there, "submit", refuse)
    assert invoke(["submit", job_file, "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert (told["attached"], told["status"], [told["id"]]) == (True, "RUNNING", list(there.jobs))


def test_a_submission_that_is_refused_is_an_error(there, job_file, capsys, monkeypatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise ExecutionError("http://head:8265 refuses: no room")

    monkeypatch.setattr(there, "submit", refuse)
    assert invoke(["submit", job_file]) == 3
    assert capsys.readouterr().err == "distq: http://head:8265 refuses: no room\n"


@pytest.mark.usefixtures("there")
@pytest.mark.parametrize("command", ["cancel", "fetch"])
def test_an_empty_id_is_refused(capsys, command) -> None:
    assert invoke([command, ""]) == 2
    assert capsys.readouterr().err.startswith(f"distq: the argument behind {command} is empty: ")


def test_a_job_is_watched_through_the_log_of_a_small_job_that_is_then_ended(there, job_file, capsys) -> None:
    assert invoke(["submit", job_file]) == 0
    (job_id,) = there.jobs
    status = Status(Path("/c/runs/a run"), "working", stage="search", done=3, total=9, unit="layers")
    looks = [STATUS.dump_json(one).decode() for one in (status, replace(status, state="finished"))]
    there.next = {**there.next, "log": f"{looks[0]}\na line of Ray\n{looks[1]}\n"}
    capsys.readouterr()
    assert invoke(["watch", job_id, "--address", "http://head:8265"]) == 0
    shown = capsys.readouterr().out.splitlines()
    assert "search 3/9 layers" in shown[0]
    assert "has finished" in shown[1]
    (helper,) = set(there.jobs) - {job_id}
    assert there.commands[helper] == "distq watch '/c/runs/a run' --json --every 2 --wait"
    assert (there.jobs[helper].status, there.jobs[job_id].status) == ("STOPPED", "RUNNING")
    found = [look.state for look in distq.watch(job_id, address="http://head:8265")]
    assert found == ["working", "finished"]


def test_a_job_that_failed_before_its_run_began_is_said_when_watched(there, job_file, capsys) -> None:
    assert invoke(["submit", job_file]) == 0
    (job_id,) = there.jobs
    there.jobs[job_id] = there.jobs[job_id].model_copy(update={"status": "FAILED", "message": "no node"})
    there.next = {**there.next, "log": STATUS.dump_json(Status(Path("/c/runs"), "starting")).decode() + "\n"}
    assert invoke(["watch", job_id, "--address", "http://head:8265"]) == 3
    assert "failed on the cluster: no node" in capsys.readouterr().err
