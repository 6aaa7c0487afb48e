"""A raylet that has ended is noticed before Ray is asked for anything."""

from __future__ import annotations

import os
import socket
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


@pytest.mark.parametrize("killed", [True, False])
def test_a_connection_that_breaks_is_of_a_raylet_that_is_gone(killed: bool) -> None:
    class Broken:
        def nodes(self) -> None:
            if killed:
                process.kill()
            raise ConnectionResetError("Connection reset by peer")

    ray = BoundedRay(Broken())
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as process:
        ray.raylet = Raylet(process.pid)
        with pytest.raises(ExecutionError if killed else ConnectionResetError) as told:
            ray.nodes()
        process.kill()
    ray.raylet.close()
    assert str(told.value) == (GONE if killed else "Connection reset by peer")


def test_a_raylet_that_closes_a_connection_and_stays_is_not_gone() -> None:
    ours, theirs = socket.socketpair()
    raylet = Raylet(os.getpid(), ours)
    assert not raylet.gone
    theirs.close()
    assert not raylet.gone
    raylet.close()


def test_several_threads_may_ask_at_once() -> None:
    raylet = Raylet(os.getpid())
    with ThreadPoolExecutor(4) as threads:
        asked = [threads.submit(lambda: any(raylet.gone for _ in range(5000))) for _ in range(4)]
    raylet.close()
    assert [answer.result() for answer in asked] == [False] * 4
