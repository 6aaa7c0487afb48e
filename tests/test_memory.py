"""How much memory there is, and what is said where it is not enough."""

from __future__ import annotations

import resource
from pathlib import Path

import pytest

from distq import memory
from distq.errors import ExecutionError
from distq.memory import is_out_of_memory, memory_limit, out_of_memory, peak_rss_mb, system_kills
from distq.run.open import interruptible


@pytest.mark.parametrize(
    ("lines", "name"),
    [("0::/job/step\n", "job/memory.max"), ("3:cpu,memory:/job\n", "memory/job/memory.limit_in_bytes")],
)
def test_the_smallest_limit_of_the_control_groups_counts(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, lines: str, name: str
) -> None:
    limit = tmp_path / "groups" / name
    limit.parent.mkdir(parents=True)
    limit.write_text("65536\n")
    (tmp_path / "own").write_text(f"1:name=systemd:/elsewhere\n{lines}")
    monkeypatch.setattr(memory, "_GROUPS", tmp_path / "groups")
    monkeypatch.setattr(memory, "_OWN_GROUPS", tmp_path / "own")
    assert memory_limit() == 65536
    limit.write_text("max\n")
    assert memory_limit() > 65536


@pytest.mark.parametrize(
    ("lines", "name"),
    [("0::/job/step\n", "job/step/memory.events"), ("3:memory:/job\n", "memory/job/memory.oom_control")],
)
def test_who_was_killed_for_memory_is_counted_by_the_own_control_group_then_by_the_machine(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, lines: str, name: str
) -> None:
    (tmp_path / "own").write_text(lines)
    (tmp_path / "vmstat").write_text("oom_kill_disable 9\noom_kill 7\n")
    monkeypatch.setattr(memory, "_GROUPS", tmp_path / "groups")
    monkeypatch.setattr(memory, "_OWN_GROUPS", tmp_path / "own")
    monkeypatch.setattr(memory, "_COUNTERS", tmp_path / "vmstat")
    assert system_kills() == 7
    counters = tmp_path / "groups" / name
    counters.parent.mkdir(parents=True)
    counters.write_text("under_oom 0\noom_kill 3\n")
    assert system_kills() == 3


def test_an_address_space_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(resource, "getrlimit", lambda _: (1 << 20, 1 << 20))
    assert memory_limit() == 1 << 20


def test_peak_memory_is_in_mebibytes() -> None:
    assert 10 < peak_rss_mb() < memory_limit() >> 20


@pytest.mark.parametrize(
    "error",
    [
        MemoryError(),
        RuntimeError("std::bad_alloc"),
        RuntimeError("can't start new thread"),
        RuntimeError("Failed to allocate memory for requested buffer of size 7"),
        RuntimeError("System error: Unable to allocate internal buffer.\ntraceback: Traceback (most recent"),
        ValueError("OpenCV: (-4:Insufficient memory) Failed to allocate 7 bytes"),
    ],
)
def test_libraries_say_it_in_their_words(error: Exception) -> None:
    assert is_out_of_memory(error)
    assert not is_out_of_memory(ValueError("of another shape"))
    assert out_of_memory("tensor t", error).startswith("tensor t: out of memory")
    assert "Traceback" not in out_of_memory("tensor t", error)
    assert "\n" not in out_of_memory("tensor t", RuntimeError("bad_alloc\nhere"))


@pytest.mark.parametrize(
    "error", [MemoryError(), RuntimeError("pthread_create failed: Cannot allocate memory")]
)
def test_a_driver_without_memory_ends_with_an_error_of_distqs(error: Exception) -> None:
    with pytest.raises(ExecutionError, match=r"^the driver: out of memory.*: give it more"), interruptible():
        raise error


def test_other_errors_of_a_driver_stay_what_they_are() -> None:
    with pytest.raises(ZeroDivisionError), interruptible():
        raise ZeroDivisionError
