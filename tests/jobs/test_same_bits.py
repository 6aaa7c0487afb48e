"""The same thresholds and the same model, byte for byte, wherever and in whatever pieces a job runs."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from job_helpers import bits, read_json, samples

import distq
from distq.replica.worker import WorkerSettings
from distq.stages import correct

COUNT = 24
JOBS: dict[str, dict[str, Any]] = {
    "calibrate": {},
    "tune": {"tune_samples": COUNT},
    "bitmain": {"tune_samples": 4, "strategy": "bitmain", "layers": "first,scores"},
    "tpu-mlir": {"tune_samples": 4, "strategy": "tpu-mlir", "layers": "first,average"},
}


def run(job: str, model: Path, data: Path, out: Path, **options: Any) -> dict[str, bytes]:
    verb = distq.calibrate if job == "calibrate" else distq.tune
    verb(model=model, data=data, out=out, samples=COUNT, **JOBS[job], **{"executor": "local", **options})
    return bits(out)


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("images") / "images.npy"
    np.save(path, samples(COUNT + 2))
    return path


@pytest.fixture(scope="module")
def expected(
    model: Path, images: Path, tmp_path_factory: pytest.TempPathFactory
) -> dict[str, dict[str, bytes]]:
    """What one worker makes of each job, all samples in one unit."""
    folder = tmp_path_factory.mktemp("expected")
    return {job: run(job, model, images, folder / job, shard_size=COUNT) for job in JOBS}


def test_the_jobs_differ(expected: dict[str, dict[str, bytes]]) -> None:
    assert len({found["model.int8.onnx"] for found in expected.values()}) == len(JOBS)


@settings(deadline=None, max_examples=10, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(job=st.sampled_from(sorted(JOBS)), size=st.integers(1, COUNT + 1))
@example(job="tune", size=1)
@example(job="calibrate", size=3)
def test_any_shard_size_gives_the_same_bits(
    *,
    job: str,
    size: int,
    model: Path,
    images: Path,
    expected: dict[str, dict[str, bytes]],
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    out = tmp_path_factory.mktemp("shards") / "run"
    assert run(job, model, images, out, shard_size=size) == expected[job]


@pytest.fixture
def dealt_out(monkeypatch: pytest.MonkeyPatch) -> None:
    """Few images are dealt out to correct a layer, as many are."""
    monkeypatch.setattr(correct, "LEAST_STAGE_WORK", 1)


@pytest.mark.usefixtures("ray_session", "dealt_out")
@pytest.mark.parametrize("workers", [1, 2, 3])
def test_any_number_of_ray_workers_gives_the_same_bits(
    workers: int, model: Path, images: Path, expected: dict[str, dict[str, bytes]], tmp_path: Path
) -> None:
    found = run("tune", model, images, tmp_path / "run", executor="ray", workers=workers, shard_size=2)
    assert found == expected["tune"]
    assert read_json(tmp_path / "run" / "metrics.json")["cost"]["workers"] == workers


@pytest.mark.parametrize("threads", [2, 5])
def test_any_number_of_decoding_threads_gives_the_same_bits(
    threads: int, model: Path, images: Path, expected: dict[str, dict[str, bytes]], tmp_path: Path
) -> None:
    assert run("tune", model, images, tmp_path / "run", decode_workers=threads) == expected["tune"]


@pytest.mark.usefixtures("ray_session")
@pytest.mark.parametrize("job", ["calibrate", "tune"])
def test_decoding_in_actors_gives_the_same_bits(
    job: str, model: Path, images: Path, expected: dict[str, dict[str, bytes]], tmp_path: Path
) -> None:
    def beside_a_gpu(settings: WorkerSettings, device: str) -> WorkerSettings:
        assert device == "cpu", "where it computes all the same"
        assert settings.decode_actors == 2
        return replace(settings, decode_threads=1)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(WorkerSettings, "on", beside_a_gpu)
        found = run(job, model, images, tmp_path / "run", executor="ray", workers=1, decode_workers=2)
    assert found == expected[job]


@pytest.mark.usefixtures("ray_session")
def test_any_cpus_per_worker_give_the_same_bits(
    model: Path, images: Path, expected: dict[str, dict[str, bytes]], tmp_path: Path
) -> None:
    found = run("tune", model, images, tmp_path / "run", executor="ray", workers=1, cpus_per_worker=3)
    assert found == expected["tune"]


@pytest.mark.parametrize("job", ["calibrate", "tune"])
@pytest.mark.parametrize("cpus", [1, 3])
def test_any_samples_side_by_side_give_the_same_bits(
    *, job: str, cpus: int, model: Path, images: Path, expected: dict[str, dict[str, bytes]], tmp_path: Path
) -> None:
    assert run(job, model, images, tmp_path / "run", cpus_per_worker=cpus) == expected[job]


def test_with_little_memory_work_is_done_again_and_gives_the_same_bits(
    model: Path, images: Path, expected: dict[str, dict[str, bytes]], tmp_path: Path
) -> None:
    plenty, little = tmp_path / "plenty", tmp_path / "little"
    for memory, out in ((1024, plenty), (1, little)):
        assert run("tune", model, images, out, shard_size=COUNT, cache_memory=memory) == expected["tune"]
    forwards = [read_json(out / "metrics.json")["cost"]["int8_forwards"] for out in (plenty, little)]
    assert forwards[1] > forwards[0]
