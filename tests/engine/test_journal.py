from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst

from distq.engine.journal import Journal
from distq.engine.journal_read import JournalTail
from distq.errors import ExecutionError, FileFormatError, UsageError
from distq.replica.worker import Arrays

GOLDEN = Path(__file__).parent / "data" / "journal.v1.jsonl"
SMALL = {"counts": np.arange(5, dtype=np.int64), "max": np.array(1.5, np.float32)}
LARGE = {"noise": np.random.default_rng(0).standard_normal(20_000)}


def same(left: Arrays | None, right: Arrays) -> bool:
    return (
        left is not None
        and list(left) == list(right)
        and all(
            left[name].dtype == right[name].dtype and np.array_equal(left[name], right[name])
            for name in right
        )
    )


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "journal.jsonl"


def test_a_new_journal_knows_nothing(path: Path) -> None:
    with Journal(path) as journal:
        assert journal.get("a") is None
        assert "a" not in journal
        assert journal.notes("layer") == []


def statuses(tail: JournalTail) -> list[dict[str, Any]]:
    return [record["fields"] for record in tail.news() if record["type"] == "status"]


def test_how_far_a_run_is_stands_between_units_and_is_kept_nowhere_else(path: Path) -> None:
    tail = JournalTail(path)
    with Journal(path) as journal:
        journal.record_unit("small", "a unit", SMALL)
        journal.status(done=1)
        journal.note("layer", name="conv1")
        assert statuses(tail) == [{"done": 1}]
        journal.status(done=2)
        assert statuses(tail) == [{"done": 2}]
        assert tail.news() == []
    size = path.stat().st_size
    with Journal(path) as journal:
        assert same(journal.get("small"), SMALL)
        assert journal.notes("layer") == [{"name": "conv1"}]
        assert path.stat().st_size == size
        journal.status(done=3)
    assert statuses(tail) == [{"done": 3}]
    assert statuses(JournalTail(path)) == [{"done": 2}, {"done": 3}]


def test_a_journal_does_not_grow_with_the_time_that_a_run_takes(path: Path) -> None:
    tail, sizes = JournalTail(path), []
    with Journal(path) as journal:
        for done in range(10_000):
            journal.status(done=done, workers=[["a host", "x" * (done % 50)]])
            sizes.append(path.stat().st_size)
        assert statuses(tail)[-1]["done"] == 9_999
    assert sizes[-1] == sizes[100] < 1_000


def test_a_status_that_is_just_being_written_over_comes_with_the_next_look(path: Path) -> None:
    tail = JournalTail(path)
    with Journal(path) as journal:
        journal.status(done=1)
        assert statuses(tail) == [{"done": 1}]
        journal.status(done=2)
    whole = path.read_bytes()
    path.write_bytes(whole.replace(b'"done":2', b'"done":1'))
    assert tail.news() == []
    path.write_bytes(whole)
    assert statuses(tail) == [{"done": 2}]


def test_units_and_notes_are_there_at_once_and_after_reopening(path: Path) -> None:
    def check(journal: Journal) -> None:
        assert same(journal.get("small"), SMALL)
        assert same(journal.get("large"), LARGE)
        assert "small" in journal
        assert "large" in journal
        assert journal.notes("layer") == [
            {"name": "conv1", "threshold": 0.1},
            {"name": "fc", "threshold": None},
        ]
        assert journal.notes("stage") == [{"name": "calibrate"}]

    with Journal(path) as journal:
        journal.record_unit("small", "calibrate, samples 0-7", SMALL)
        journal.note("layer", name="conv1", threshold=0.1)
        journal.record_unit("large", "calibrate, samples 8-15", LARGE)
        journal.note("stage", name="calibrate")
        journal.note("layer", name="fc", threshold=None)
        check(journal)
    with Journal(path) as journal:
        check(journal)


@given(
    st.dictionaries(
        st.text("abc/:. ", max_size=5),
        npst.arrays(
            st.sampled_from([np.int64, np.float32, np.uint8]), npst.array_shapes(max_dims=2, max_side=3)
        ),
        max_size=3,
    ),
    st.floats(allow_nan=False),
    st.text(),
)
def test_arrays_and_fields_come_back_exactly(
    tmp_path_factory: pytest.TempPathFactory, arrays: Arrays, number: float, label: str
) -> None:
    path = tmp_path_factory.mktemp("journal") / "journal.jsonl"
    with Journal(path) as journal:
        journal.record_unit("key", label, arrays)
        journal.note("kind", number=number, text=label)
    with Journal(path) as journal:
        back = journal.get("key")
        assert back is not None
        assert {name: array.tobytes() for name, array in back.items()} == {
            name: array.tobytes() for name, array in arrays.items()
        }
        assert journal.notes("kind") == [{"number": number, "text": label}]


@dataclass(frozen=True)
class Written:
    """A journal as a calibration leaves it: its bytes, where each unit's line ends, and its results."""

    lines: bytes
    ends: dict[str, int]
    results: dict[str, Arrays]
    note_ends: list[int]

    def known_at(self, cut: int) -> set[str]:
        return {key for key, end in self.ends.items() if end <= cut}


@pytest.fixture
def written(path: Path, monkeypatch: pytest.MonkeyPatch) -> Written:
    """Results in lines and in parts, two of them replaced by their sum, one written again, and decisions."""
    monkeypatch.setattr(os, "fsync", lambda _: None)  # thousands of openings, and no power cut among them
    monkeypatch.setattr("distq.engine.journal._INLINE_BYTES", 600)
    results = {
        "one": {"noise": np.arange(100.0)},
        "two": {"noise": np.arange(100.0) + 1},
        "small": {"counts": np.arange(3)},
        "sum": {"noise": np.arange(100.0) * 2 + 1},
        "score": {"error": np.array([[0.25]])},
    }
    ends: dict[str, int] = {}
    note_ends = []
    with Journal(path) as journal:
        for key, arrays in (*results.items(), ("small", results["small"])):
            journal.record_unit(key, f"unit {key}", arrays)
            ends.setdefault(key, path.stat().st_size)
            if key == "sum":
                journal.forget(["one", "two"])
            if key in {"sum", "score"}:
                journal.note("layer", name=key, threshold=0.1)
                note_ends.append(path.stat().st_size)
    assert {entry.name for entry in (path.parent / "parts").iterdir()} == {"sum.npz"}
    remembered = {key: end for key, end in ends.items() if key not in {"one", "two"}}
    return Written(path.read_bytes(), remembered, results, note_ends)


def known(journal: Journal, written: Written) -> set[str]:
    """Which units the journal gives; none of them with other values."""
    found = {key: journal.get(key) for key in written.results}
    assert all(same(arrays, written.results[key]) for key, arrays in found.items() if arrays is not None)
    return {key for key, arrays in found.items() if arrays is not None}


def test_it_survives_a_cut_at_every_byte(path: Path, written: Written) -> None:
    for cut in range(len(written.lines) + 1):
        path.write_bytes(written.lines[:cut])
        notes = sum(end <= cut for end in written.note_ends)
        with Journal(path) as journal:
            assert known(journal, written) == written.known_at(cut)
            assert len(journal.notes("layer")) == notes
            journal.record_unit("after", "unit", {"x": np.array(cut)})
            journal.note("layer", number=cut)
        with Journal(path) as journal:
            assert known(journal, written) == written.known_at(cut)
            assert same(journal.get("after"), {"x": np.array(cut)})
            assert len(journal.notes("layer")) == notes + 1
            assert journal.notes("layer")[-1] == {"number": cut}


def test_a_damaged_line_costs_itself_and_what_follows_is_read(path: Path, written: Written) -> None:
    starts = [0, *(i + 1 for i, byte in enumerate(written.lines) if byte == ord("\n"))]
    for start, end in pairwise(starts[1:]):  # the header has a test of its own
        for place in range(start, end - 1, 7):
            path.write_bytes(written.lines[:place] + b"#" + written.lines[place + 1 :])
            lost = {key for key, line_end in written.ends.items() if line_end == end}
            lost -= {"small"}  # its second line counts
            with Journal(path) as journal:
                assert known(journal, written) == set(written.ends) - lost
                assert len(journal.notes("layer")) == 2 - (end in written.note_ends)
                journal.note("stage", number=place)
            with Journal(path) as journal:
                assert known(journal, written) == set(written.ends) - lost
                assert journal.notes("stage") == [{"number": place}]


@given(place=st.integers(0, 10_000), bit=st.integers(0, 7))
def test_a_flipped_bit_is_never_believed(
    tmp_path_factory: pytest.TempPathFactory, place: int, bit: int
) -> None:
    path = tmp_path_factory.mktemp("journal") / "journal.jsonl"
    with Journal(path) as journal:
        first = path.stat().st_size
        for number in range(3):
            journal.record_unit(f"unit{number}", "unit", {"x": np.array(number)})
    data = bytearray(path.read_bytes())
    place = first + place % (len(data) - first)
    data[place] ^= 1 << bit
    path.write_bytes(data)
    with Journal(path) as journal:
        for number in range(3):
            known = journal.get(f"unit{number}")
            assert known is None or same(known, {"x": np.array(number)})


def test_a_damaged_or_missing_part_is_simply_not_known(path: Path) -> None:
    with Journal(path) as journal:
        for key in ("kept", "damaged", "missing"):
            journal.record_unit(key, "unit", LARGE)
    part = path.parent / "parts" / "damaged.npz"
    data = bytearray(part.read_bytes())
    data[len(data) // 2] ^= 1
    part.write_bytes(data)
    (path.parent / "parts" / "missing.npz").unlink()
    with Journal(path) as journal:
        assert [key in journal for key in ("kept", "damaged", "missing")] == [True, False, False]
        assert [journal.get(key) is None for key in ("kept", "damaged", "missing")] == [False, True, True]
        journal.record_unit("damaged", "unit", LARGE)
        assert same(journal.get("damaged"), LARGE)


def test_removed_parts_are_not_known_and_small_results_stay(path: Path) -> None:
    with Journal(path) as journal:
        journal.record_unit("small", "unit", SMALL)
        journal.record_unit("large", "unit", LARGE)
        journal.remove_parts()
        assert not (path.parent / "parts").exists()
        assert same(journal.get("small"), SMALL)
        assert journal.get("large") is None
        journal.remove_parts()
    with Journal(path) as journal:
        assert "large" not in journal


def test_what_others_were_made_of_is_deleted_for_good(path: Path) -> None:
    with Journal(path) as journal:
        for key in ("one", "two", "sum"):
            journal.record_unit(key, "unit", LARGE)
        journal.forget(["one", "two", "never there"])
        assert [entry.name for entry in (path.parent / "parts").iterdir()] == ["sum.npz"]
        assert "one" not in journal
    with Journal(path) as journal:
        assert [key in journal for key in ("one", "two", "sum")] == [False, False, True]
        assert same(journal.get("sum"), LARGE)


def test_a_second_opener_is_refused_by_the_runs_name(path: Path) -> None:
    with Journal(path), pytest.raises(UsageError, match=f"^{path.parent} is in use by another distq"):
        Journal(path)
    with Journal(path) as journal:
        assert journal.notes("layer") == []


def test_another_process_is_refused_too(path: Path) -> None:
    script = (
        f"from pathlib import Path; from distq.engine.journal import Journal; Journal(Path({str(path)!r}))"
    )
    with Journal(path):
        command = [sys.executable, "-c", script]
        done = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603  # our own interpreter
    assert "UsageError" in done.stderr


def test_a_killed_process_loses_no_record_it_wrote(path: Path) -> None:
    script = (
        "import os, numpy; from pathlib import Path; from distq.engine.journal import Journal\n"
        f"journal = Journal(Path({str(path)!r}))\n"
        "for number in range(5): journal.record_unit(f'unit{number}', 'unit', {'x': numpy.array(number)})\n"
        "os.kill(os.getpid(), 9)"
    )
    subprocess.run([sys.executable, "-c", script], check=False)  # noqa: S603  # our own interpreter
    with Journal(path) as journal:
        assert [f"unit{number}" in journal for number in range(6)] == [True] * 5 + [False]


@pytest.mark.parametrize("content", [b"hello\n", b"\0" * 50, b'{"a": 1}\n{"b": 2}\n'])
def test_a_file_of_something_else_is_left_alone(path: Path, content: bytes) -> None:
    path.write_bytes(content)
    with pytest.raises(FileFormatError, match="is not a distq journal; choose another --out"):
        Journal(path)
    assert path.read_bytes() == content


def test_an_unknown_version_is_refused_and_left_alone(path: Path) -> None:
    # the line a later distq may write: version 2, with its right CRC
    content = b'{"crc32":"40a66d89","record":{"type":"header","format":"distq journal","version":2}}\n'
    path.write_bytes(content)
    with pytest.raises(FileFormatError, match="has journal version 2, this distq reads 1: resume with"):
        Journal(path)
    assert path.read_bytes() == content


def test_a_key_that_is_no_file_name_is_refused(path: Path) -> None:
    with Journal(path) as journal, pytest.raises(ValueError, match="key"):
        journal.record_unit("../up", "unit", SMALL)


def test_a_full_disk_is_an_error_of_ours_and_the_journal_stays_whole(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Journal(path) as journal:
        journal.record_unit("first", "unit", SMALL)
        really = os.pwrite

        def half(file: int, data: bytes, offset: int) -> int:
            really(file, data[: len(data) // 2], offset)
            raise OSError(28, "No space left on device")

        monkeypatch.setattr(os, "pwrite", half)
        with pytest.raises(
            ExecutionError, match=r"jsonl cannot be written: No space left on device; make room"
        ):
            journal.record_unit("second", "unit", SMALL)
        monkeypatch.undo()
        assert "second" not in journal
        journal.record_unit("third", "unit", SMALL)
    with Journal(path) as journal:
        assert [key in journal for key in ("first", "second", "third")] == [True, False, True]


def test_a_folder_that_is_not_there_is_bad_input(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="No such file"):
        Journal(tmp_path / "missing" / "journal.jsonl")


def test_a_stored_journal_of_version_1_stays_readable(path: Path) -> None:
    path.write_bytes(GOLDEN.read_bytes())
    with Journal(path) as journal:
        assert same(
            journal.get("0f" * 32),
            {"counts": np.array([0, 3, 5], np.int64), "max": np.array(6.25, np.float32)},
        )
        assert journal.get("a1" * 32) is None, "its part is not beside this copy"
        assert journal.notes("layer") == [
            {"name": "conv1", "threshold": 0.30000000000000004, "accepted": True}
        ]
        assert journal.notes("stage") == [{"name": "calibrate"}]
    assert path.read_bytes() == GOLDEN.read_bytes()
