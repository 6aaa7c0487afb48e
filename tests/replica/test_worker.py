import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from distq.replica.worker import (
    _ENTRY_BYTES,
    Blob,
    Worker,
    WorkerSettings,
    array_bytes,
    default_cache,
    stable_sum,
)


def worker(cache_bytes):
    return Worker(WorkerSettings(cache_bytes=cache_bytes), fetch=lambda blob: blob.handle)


def test_a_value_is_built_once_and_again_when_dropped():
    built = []
    w = worker(100)
    for _ in range(3):
        assert w.cached("key", lambda: built.append(1) or len(built), lambda _: 1) == 1
    w.drop("key")
    assert w.get("key") is None
    assert w.cached("key", lambda: built.append(1) or len(built), lambda _: 1) == 2


def test_the_least_recently_used_goes_first():
    w = worker(36_000)
    for key in "abc":
        w.keep(key, key, 9000)
    w.get("a")
    w.cached("b", lambda: "built anew", lambda _: 9000)
    w.keep("d", "d", 9000)
    assert [w.get(key) for key in "abcd"] == ["a", "b", None, "d"]


def test_a_value_larger_than_the_cache_is_kept_alone():
    w = worker(10)
    w.keep("small", 1, 5)
    w.keep("large", 2, 500)
    assert (w.get("small"), w.get("large")) == (None, 2)


def test_many_small_values_are_counted_with_what_is_around_them():
    w = worker(1 << 20)
    for index in range(100_000):
        w.keep(("output", index), [np.zeros(1)], 8)
    assert sum(w.get(("output", index)) is not None for index in range(100_000)) < 5000


@given(
    steps=st.lists(
        st.tuples(st.sampled_from("abcdef"), st.integers(0, 4000), st.sampled_from(["keep", "drop", "get"]))
    )
)
def test_what_is_kept_never_exceeds_the_cache_by_more_than_one_value(steps):
    w = worker(10_000)
    sizes = {}
    for key, size, action in steps:
        if action == "keep":
            w.keep(key, size, size)
            sizes[key] = size
        elif action == "drop":
            w.drop(key)
        else:
            w.get(key)
        held = [w.get(k) for k in "abcdef" if w.get(k) is not None]
        assert sum(held) <= 10_000
        assert all(w.get(k) in {None, size} for k, size in sizes.items())


def test_a_blob_shows_its_hash_and_not_its_bytes():
    assert repr(Blob("0123456789abcdef", b"secret")) == "Blob(0123456789ab)"


def test_memory_of_arrays():
    assert array_bytes({"a": np.zeros(3, np.float64), "b": np.zeros((2, 2), np.int8)}) == 28


@given(values=hnp.arrays(np.float64, (7, 2), elements=st.floats(-1e6, 1e6)), cut=st.integers(0, 7))
def test_a_stable_sum_goes_row_by_row(values, cut):
    total = stable_sum(values[:cut])
    for row in values[cut:]:
        total = total + row
    np.testing.assert_array_equal(total, stable_sum(values))


def test_what_grows_is_weighed_again_whenever_something_is_kept():
    kept = worker(3 * _ENTRY_BYTES + 100)
    sizes = {"session": 10}
    kept.cached("a", lambda: "session", sizes.__getitem__, growing=True)
    kept.keep("b", "b", 10)
    sizes["session"] = 200
    kept.keep("c", "c", 10)
    assert [kept.get(key) for key in "abc"] == [None, "b", "c"]


@pytest.mark.parametrize(("workers", "wanted"), [(1, 1 << 30), (8, 512 << 20), (1000, 64 << 20)])
def test_workers_of_a_machine_share_a_quarter_of_its_memory(monkeypatch, workers, wanted):
    monkeypatch.setattr("distq.replica.worker.memory_limit", lambda: 16 << 30)
    assert default_cache(workers) == wanted
