"""A raylet that has ended is noticed before Ray is asked for anything."""

from __future__ import annotations

import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import pytest

from distq.engine.ray_answers import BoundedRay
from distq.engine.raylet import GONE, Raylet
from distq.errors import ExecutionError


class Asked:
    """A module ``ray`` that counts how often it is asked."""

    count = 0

    def nodes(self) -> list[str]:
        self.count += 1
        return ["node"]


def test_ray_is_not_asked_once_its_raylet_is_gone() -> None:
    asked = Asked()
    ray = BoundedRay(asked)
    with subprocess.Popen(
        [sys.executable, "-c", "input()"], stdin=subprocess.PIPE
    ) as process:  # our own code
        ray.raylet = Raylet(process.pid)
        assert ray.nodes() == ["node"]
        process.kill()
        process.stdin.close()
        while not ray.raylet.gone:  # nobody has waited for it yet, as for Ray's own
            pass
        with pytest.raises(ExecutionError) as told:
            ray.nodes()
    ray.raylet.close()
    assert (str(told.value), asked.count) == (GONE, 1)


def test_several_threads_may_ask_at_once() -> None:
    raylet = Raylet(os.getpid())
    with ThreadPoolExecutor(4) as threads:
        asked = [threads.submit(lambda: any(raylet.gone for _ in range(5000))) for _ in range(4)]
    raylet.close()
    assert [answer.result() for answer in asked] == [False] * 4
