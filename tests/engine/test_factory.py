from __future__ import annotations

import pytest

from distq.config import CommonOptions
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
