from __future__ import annotations

import pytest
from engine_units import DecodeThreads, Square

from distq.config import CommonOptions
from distq.engine.executor import Executor
from distq.engine.factory import open_executor
from distq.engine.local import LocalExecutor
from distq.engine.ray_pool import RayExecutor
from distq.errors import UsageError


def test_local_is_local_and_says_that_it_has_one_worker() -> None:
    events: list[str] = []
    with open_executor(CommonOptions(executor="local", workers=3), events.append) as executor:
        assert isinstance(executor, LocalExecutor)
        assert executor.workers == 1
    assert events == ["--executor local runs one worker; --workers 3 has no effect"]


def test_ray_has_as_many_workers_as_asked(ray_session: None) -> None:
    del ray_session
    with open_executor(CommonOptions(executor="ray", workers=2), print) as executor:
        assert isinstance(executor, RayExecutor)
        assert executor.workers == 2


def test_more_workers_than_there_are_cpus_fails_at_once(ray_session: None) -> None:
    del ray_session
    with pytest.raises(UsageError, match=r"--workers 5 .* has 4 CPUs and 0 GPUs; ask for at most 4"):
        open_executor(CommonOptions(executor="ray", workers=5), print)


def test_cuda_without_a_gpu_fails_at_once(ray_session: None) -> None:
    del ray_session
    with pytest.raises(UsageError, match=r"--device cuda: .* 0 GPUs; use --device cpu"):
        open_executor(CommonOptions(executor="ray", workers=1, device="cuda"), print)


def test_a_worker_that_fits_on_no_node_fails_at_once(ray_session: None) -> None:
    del ray_session
    with pytest.raises(UsageError, match=r"a worker of 5 CPUs: .* has 4 CPUs and 0 GPUs; no node has room"):
        open_executor(CommonOptions(executor="ray", cpus_per_worker=5), print)


def test_workers_book_the_cpus_they_are_given_and_decode_on_them(ray_session: None) -> None:
    del ray_session
    with open_executor(CommonOptions(executor="ray", cpus_per_worker=2), print) as executor:
        assert executor.workers == 2
        assert decode_threads(executor) == 2
    with open_executor(CommonOptions(executor="ray", decode_workers=4), print) as executor:
        assert executor.workers == 1, "without --cpus-per-worker a worker books what its threads keep busy"
        assert decode_threads(executor) == 4
    with open_executor(CommonOptions(executor="ray", cpus_per_worker=1, decode_workers=3), print) as executor:
        assert executor.workers == 4
        assert decode_threads(executor) == 3


def decode_threads(executor: Executor) -> int:
    [(_, arrays)] = executor.run([DecodeThreads(0)])
    return int(arrays["decode_threads"])


def test_more_workers_than_there_is_room_for_may_be_waited_for(ray_session: None) -> None:
    del ray_session
    with open_executor(CommonOptions(executor="ray", workers=6, wait_for_workers=60), print) as executor:
        assert executor.workers == 6
        found = {int(arrays["square"][0]) for _, arrays in executor.run([Square(n) for n in range(20)])}
    assert found == {n**2 for n in range(20)}


def test_auto_is_the_processor_for_all_workers_where_the_cluster_has_no_gpu(ray_session: None) -> None:
    del ray_session
    with open_executor(CommonOptions(executor="ray", workers=1, device="auto"), print) as executor:
        assert executor.device == "cpu"


@pytest.mark.parametrize("kind", ["local", "ray"])
def test_a_part_of_a_gpu_for_a_worker_on_the_processor_is_refused(kind: str) -> None:
    options = CommonOptions.model_validate({"executor": kind, "gpus_per_worker": 0.5})
    with pytest.raises(UsageError, match=r"--gpus-per-worker 0\.5: .* --device cuda or auto"):
        open_executor(options, print)
