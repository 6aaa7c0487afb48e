"""A run folder as text, through a log that is cut anywhere."""

from __future__ import annotations

import itertools
import shutil
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from distq.errors import ExecutionError, UsageError
from distq.submission import archive
from distq.submission.archive import read_run, write_run

CONTENT = {
    "run.json": b"{}",
    "model.int8.onnx": bytes(range(256)) * 90,  # more than two lines
    "thresholds.json": b"",
    "metrics.json": b"x" * 9_000,  # one line, full
}


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("run")
    for name, content in CONTENT.items():
        (folder / name).write_bytes(content)
    (folder / "journal.jsonl").write_bytes(b"stays")
    (folder / "mine.txt").write_bytes(b"stays too")
    return folder


@pytest.fixture(scope="module")
def sweep(tmp_path_factory: pytest.TempPathFactory, run: Path) -> Path:
    folder = tmp_path_factory.mktemp("sweep")
    (folder / "results.csv").write_text("name\n")
    (folder / "results.json").write_text("{}")
    (folder / "journal.jsonl").write_bytes(b"stays")
    for name in ("net-kl", "net-1.5+x"):
        shutil.copytree(run, folder / name)
    (folder / "parts").mkdir()
    (folder / "parts" / "0.npz").write_bytes(b"stays")
    return folder


def test_a_sweep_comes_with_its_results_and_the_files_of_its_runs(sweep: Path, tmp_path: Path) -> None:
    names = {path.relative_to(tmp_path).as_posix() for path in read([text_of(sweep)], tmp_path)}
    assert names == {"results.csv", "results.json"} | {
        f"{run}/{name}" for run in ("net-kl", "net-1.5+x") for name in CONTENT
    }
    for name in names:
        assert (tmp_path / name).read_bytes() == (sweep / name).read_bytes()


def test_a_sweep_that_was_interrupted_comes_as_far_as_it_is(sweep: Path, tmp_path: Path) -> None:
    shutil.copytree(sweep / "net-kl", tmp_path / "there" / "net-kl")
    (tmp_path / "here").mkdir()
    written = read([text_of(tmp_path / "there")], tmp_path / "here")
    assert {path.parent.name for path in written} == {"net-kl"}


@pytest.mark.parametrize(
    "name", ["../run.json", "a/../run.json", "a/b/run.json", ".ssh/run.json", "/run.json"]
)
def test_no_file_comes_to_another_place(name: str, tmp_path: Path) -> None:
    with pytest.raises(ExecutionError, match="belongs to no run"):
        read([f"distq-run 1 1 0\ndistq-file {name} 0 x\ndistq-end\n"], tmp_path)


def text_of(folder: Path) -> str:
    parts: list[str] = []
    write_run(folder, parts.append)
    return "".join(parts)


def read(pieces, folder: Path) -> tuple[Path, ...]:
    return read_run(pieces, folder, lambda _: None, lambda _: None)


@given(cuts=st.lists(st.integers(0, 40_000), max_size=8), before=st.sampled_from(["", "Ray says\n", "\n\n"]))
def test_it_comes_back_whole_however_the_text_is_cut(run, tmp_path_factory, cuts, before) -> None:
    text = before + text_of(run) + "the last word\n"
    places = [0, *sorted(cut % len(text) for cut in cuts), len(text)]
    folder = tmp_path_factory.mktemp("back")
    files = read((text[a:b] for a, b in itertools.pairwise(places)), folder)
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == CONTENT
    assert set(files) == set(folder.iterdir())


@given(data=st.data())
def test_a_text_that_ends_early_is_never_taken_for_a_run(run, tmp_path_factory, data) -> None:
    text = text_of(run)
    cut = data.draw(st.integers(0, len(text) - len("distq-end\n")))
    with pytest.raises(ExecutionError):
        read([text[:cut]], tmp_path_factory.mktemp("back"))


@given(data=st.data())
def test_a_changed_character_is_never_believed(run, tmp_path_factory, data) -> None:
    text = text_of(run)
    place = data.draw(st.integers(0, len(text) - 1))
    changed = text[:place] + ("A" if text[place] != "A" else "B") + text[place + 1 :]
    folder = tmp_path_factory.mktemp("back")
    try:
        files = read([changed], folder)
    except ExecutionError:
        return
    assert {path.name: path.read_bytes() for path in files}.items() <= CONTENT.items()


@pytest.mark.parametrize("name", ["../up", "/etc/passwd", "mine.txt", "journal.jsonl", ".."])
def test_only_the_files_of_a_run_are_written(tmp_path: Path, name: str) -> None:
    with pytest.raises(ExecutionError, match="belongs to no run"):
        read([f"distq-run 1 1 0\ndistq-file {name} 0 e3b0\ndistq-end\n"], tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_is_no_run_is_named(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="holds no run of distq"):
        text_of(tmp_path)
    with pytest.raises(UsageError, match="holds no run of distq"):
        text_of(tmp_path / "none")


def test_a_run_too_large_for_the_port_is_left_where_it_is(run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(archive, "LARGEST_RUN", 100)
    with pytest.raises(UsageError, match="copy it from the storage it lies on"):
        text_of(run)


def test_progress_adds_up(run, tmp_path: Path) -> None:
    sizes: list[int] = []
    counted: list[int] = []
    read_run([text_of(run)], tmp_path, sizes.append, counted.append)
    assert sizes == [sum(map(len, CONTENT.values()))] == [sum(counted)]
