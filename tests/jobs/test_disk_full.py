"""A disk that fills up at any write: one line names the file, old files stay, and ``--resume`` finishes."""

from __future__ import annotations

import resource
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from job_helpers import bits, tree, use_watched, write_photos

import distq.files
from distq.calibration.distributions import DistributionSet
from distq.cli.app import invoke
from distq.data.build import build_lmdb
from distq.engine.journal import Journal
from distq.errors import DistqError, ExecutionError
from distq.replica import session
from distq.replica.worker import WorkerSettings
from distq.run import rundir
from distq.submission.archive import read_run, write_run


@contextmanager
def largest_file(size: int) -> Iterator[None]:
    """The kernel lets this process write no file beyond ``size`` bytes (Python ignores SIGXFSZ)."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def full_at(patch: pytest.MonkeyPatch, name: str, times: int = 1) -> None:
    """From its ``times``-th writing on, a file (or any in a folder) called ``name`` finds the disk full."""
    seen = []

    def watched(write: Callable[[Path, bytes], None]) -> Callable[[Path, bytes], None]:
        def written(path: Path, data: bytes) -> None:
            if name not in {path.name, path.parent.name}:
                return write(path, data)
            seen.append(path)
            if len(seen) < times:
                return write(path, data)
            with largest_file(100):
                return write(path, data)

        return written

    patch.setattr(distq.files, "_replace", watched(distq.files._replace))
    patch.setattr(rundir, "write_first", watched(distq.files.write_first))


@pytest.fixture
def line(model: Path, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """A search that writes every kind of file a run has; large results go into parts."""
    monkeypatch.setattr("distq.engine.journal._INLINE_BYTES", 2000)
    options = {"samples": 8, "tune_samples": 4, "holdout": 2, "effort": 1}
    given = [text for name, value in options.items() for text in (f"--{name.replace('_', '-')}", str(value))]
    return [
        *("tune", str(model), "--data", str(data), "--executor", "local", "--quiet", *given),
        *("--dump-dist", str(tmp_path / "dump.npz"), "--out", str(tmp_path / "run")),
    ]


@pytest.fixture(scope="module")
def whole(model: Path, data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same search on a disk with room."""
    out = tmp_path_factory.mktemp("whole") / "run"
    distq.tune(
        model=model, data=data, samples=8, tune_samples=4, holdout=2, effort=1, executor="local", out=out
    )
    return out


def one_line(error: str, path: Path) -> bool:
    """Whether this is one line that names the file and the remedy."""
    start = f"distq: {path} cannot be written: File too large; make room on the disk, then --resume"
    return error == f"{start}\n"


@pytest.mark.parametrize(
    ("name", "times"),
    [
        ("run.json", 1),
        ("parts", 1),
        ("parts", 3),
        ("distributions.npz", 1),
        ("dump.npz", 1),
        ("thresholds.calibrated.json", 1),
        ("thresholds.json", 1),
        ("tensors.csv", 1),
        ("model.int8.onnx", 1),
        ("run.json", 2),
        ("metrics.json", 1),
    ],
)
def test_a_file_that_does_not_fit_is_named_and_the_run_goes_on_when_there_is_room(
    *,
    name: str,
    times: int,
    line: list[str],
    whole: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    run, dump = tmp_path / "run", tmp_path / "dump.npz"
    DistributionSet({}, {}).save(dump)
    older = dump.read_bytes()
    with monkeypatch.context() as patch:
        full_at(patch, name, times)
        assert invoke(line) == 3
    error = capsys.readouterr().err
    if name == "parts":
        assert error.startswith(f"distq: {run / 'parts'}/")
        assert "cannot be written: File too large; make room on the disk, then --resume" in error
    else:
        assert one_line(error, dump if name == "dump.npz" else run / name)
    left = tree(tmp_path)
    assert not [path for path in left if Path(path).name.startswith(".")]
    if name == "run.json":
        assert ("run/run.json" in left) == (times == 2)
    if name == "dump.npz":
        assert left["dump.npz"] == older
    assert invoke([*line, "--resume"]) == 0
    assert bits(run) == bits(whole)
    assert set(tree(run)) == set(tree(whole))
    assert dump.read_bytes() == (run / "distributions.npz").read_bytes()
    assert dump.read_bytes() == (whole / "distributions.npz").read_bytes()


@pytest.mark.parametrize("part", [0.0, 0.1, 0.35, 0.6, 0.9, 0.999])
def test_a_journal_that_does_not_fit_keeps_what_it_has(
    *,
    part: float,
    line: list[str],
    whole: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    really: Callable[[Journal, bytes], None] = Journal._write
    lines = (whole / "journal.jsonl").read_bytes().splitlines(keepends=True)
    most = int(part * sum(len(one) for one in lines if b'"type":"status"' not in one))

    def write(journal: Journal, record: bytes) -> None:
        with largest_file(most):
            really(journal, record)

    every: list[str] = []
    with monkeypatch.context() as patch:
        patch.setattr("distq.engine.journal._INLINE_BYTES", 1 << 16)
        patch.setattr(Journal, "_write", write)
        use_watched(patch, every)
        assert invoke(line) == 3
    assert one_line(capsys.readouterr().err, tmp_path / "run" / "journal.jsonl")
    ran: list[str] = []
    use_watched(monkeypatch, ran)
    assert invoke([*line, "--resume"]) == 0
    assert bits(tmp_path / "run") == bits(whole)
    again = {key for key in set(every) & set(ran) if not key.startswith("transient ")}
    assert len(again) <= 1, "of what the journal keeps, only the unit that did not fit runs again"


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Callable[[str], Path]]:
    """A file system in memory with a limit such as ``size=4096``; called again, the limit changes."""
    place = tmp_path / "disk"
    place.mkdir()
    mount = shutil.which("mount")

    def resize(limit: str) -> Path:
        remount = ",remount" if place.is_mount() else ""
        command = [mount or "mount", "-t", "tmpfs", "-o", f"{limit}{remount}", "tmpfs", str(place)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603  # ours
        if done.returncode:
            pytest.skip(f"no file system can be mounted here: {done.stderr.strip()}")
        return place

    if sys.platform != "linux" or mount is None:
        pytest.skip("file systems in memory are Linux's")
    yield resize
    if place.is_mount():
        subprocess.run(["umount", str(place)], check=True)  # noqa: S603, S607  # ours


@pytest.mark.parametrize("limit", ["size={0}k", "size=4m,nr_inodes={0}"])
def test_a_file_system_that_is_full_again_and_again(
    limit: str,
    small_disk: Callable[[str], Path],
    line: list[str],
    whole: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    step = 12 if "k" in limit else 1
    command = [*line[: line.index("--dump-dist")], "--out", str(small_disk(limit.format(step)) / "run")]
    failures = 0
    for most in range(step, 100 * step, step):
        small_disk(limit.format(most))
        code = invoke([*command, "--resume"])
        if code == 0:
            break
        assert code == 3
        failures += 1
        error = capsys.readouterr().err
        assert error.startswith(f"distq: {command[-1]}")
        assert "No space left on device; make room on the disk, then --resume" in error
    assert failures > 5
    assert bits(Path(command[-1])) == bits(whole)


def test_results_of_a_sweep_that_do_not_fit(content: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    content["matrix"] = {"method": ["kl", "mse"]}
    for number, name in enumerate(("results.csv", "results.json")):
        with monkeypatch.context() as patch:
            full_at(patch, name)
            with pytest.raises(ExecutionError, match=rf"{name} cannot be written: File too large"):
                distq.sweep(content, resume=number > 0)
    ran: list[str] = []
    use_watched(monkeypatch, ran)
    assert not distq.sweep(content, resume=True).failed
    assert ran == []


def test_a_run_that_cannot_be_fetched_whole(whole: Path, tmp_path: Path) -> None:
    pieces: list[str] = []
    write_run(whole, pieces.append)
    with (
        largest_file(1000),
        pytest.raises(ExecutionError, match=r"cannot be written: File too large; .*fetch it again"),
    ):
        read_run(pieces, tmp_path, lambda _: None, lambda _: None)


def test_an_lmdb_that_does_not_fit_is_not_there(tmp_path: Path) -> None:
    photos = write_photos(tmp_path / "photos", 4)
    (tmp_path / "list.txt").write_text("".join(f"{number}.png 0\n" for number in range(4)))
    with largest_file(2000), pytest.raises(DistqError, match=rf"LMDB {tmp_path / 'db'} cannot be written"):
        build_lmdb(photos, tmp_path / "list.txt", tmp_path / "db")
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["list.txt", "photos"]


def test_temporary_files_that_do_not_fit_are_named_too(whole: Path) -> None:
    model = (whole / "model.int8.onnx").read_bytes()
    session.fuse.cache_clear()
    session.optimized.cache_clear()
    with largest_file(500), pytest.raises(ExecutionError, match=r"make room .* or set TMPDIR"):
        session.fuse(model, WorkerSettings())
