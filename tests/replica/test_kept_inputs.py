import threading

import cv2
import numpy as np
import pytest

from distq.data.dataset import DatasetSpec, InputSpec, Sample, UnreadableSample
from distq.replica.samples import kept_inputs, open_dataset, read_samples
from distq.replica.worker import Worker, WorkerSettings


@pytest.fixture
def spec(tmp_path):
    np.save(tmp_path / "x.npy", np.arange(5, dtype=np.float32).reshape(5, 1) * np.ones(4, np.float32))
    return DatasetSpec.create(tmp_path / "x.npy", [InputSpec("x", (1, 4), "float32")])


def worker(cache_bytes=1 << 20):
    return Worker(WorkerSettings(cache_bytes=cache_bytes), fetch=lambda blob: blob.handle)


def firsts(pairs):
    return [(index, float(inputs["x"].ravel()[0])) for index, inputs in pairs]


@pytest.mark.parametrize("cache_bytes", [1, 40, 1 << 20])
def test_inputs_come_in_the_order_asked_whatever_is_kept(spec, cache_bytes):
    w = worker(cache_bytes)
    for indices in ([3, 1, 4], [0, 1, 2, 3, 4], [4, 3, 0]):
        assert firsts(kept_inputs(w, spec, indices)) == [(i, float(i)) for i in indices]


def test_what_is_kept_is_not_read_again(spec):
    w = worker()
    (first,) = (inputs for _, inputs in kept_inputs(w, spec, [2]))
    (again,) = (inputs for _, inputs in kept_inputs(w, spec, [2]))
    assert again is first


def test_a_pass_that_keeps_nothing_takes_what_is_kept(spec):
    w = worker()
    ((_, kept),) = kept_inputs(w, spec, [2])
    found = list(read_samples(w, spec, [1, 2, 2, 4]))
    assert [float(sample.inputs["x"].ravel()[0]) for sample in found] == [1, 2, 2, 4]
    assert [sample.inputs is kept for sample in found] == [False, True, True, False]
    assert next(read_samples(w, spec, [1])).inputs is not found[0].inputs


def test_the_data_set_is_opened_once(spec):
    w = worker()
    assert open_dataset(w.datasets, spec) is open_dataset(w.datasets, spec)
    assert [s.index for s in read_samples(w, spec, [4, 0])] == [4, 0]


def test_a_sample_that_cannot_be_read_is_raised(tmp_path):
    (tmp_path / "a.png").write_bytes(b"no picture")
    spec = DatasetSpec.create(tmp_path, [InputSpec("x", (1, 3, 4, 4), "float32")])
    with pytest.raises(UnreadableSample, match=r"a\.png"):
        list(kept_inputs(worker(), spec, [0]))


def test_a_sample_that_cannot_be_read_keeps_its_place_among_kept_ones(tmp_path):
    for name in ("a", "c"):
        cv2.imwrite(str(tmp_path / f"{name}.png"), np.full((4, 4, 3), 7, np.uint8))
    (tmp_path / "b.png").write_bytes(b"no picture")
    spec = DatasetSpec.create(tmp_path, [InputSpec("x", (1, 3, 4, 4), "float32")])
    w = worker()
    list(kept_inputs(w, spec, [2]))
    found = [isinstance(s, UnreadableSample) for s in read_samples(w, spec, [0, 1, 2])]
    assert found == [False, True, False]


def test_a_worker_decodes_as_many_samples_at_a_time_as_it_has_decoding_threads(spec):
    together = threading.Barrier(3)

    class Meeting:
        def load(self, index):
            together.wait(timeout=60)  # breaks where fewer than three decode
            return Sample(index, str(index), {"x": np.zeros((1, 4), np.float32)}, None)

    w = Worker(WorkerSettings(decode_threads=3), fetch=lambda blob: blob.handle)
    w.datasets[spec] = (Meeting(), None)
    assert [s.index for s in read_samples(w, spec, range(9))] == list(range(9))
