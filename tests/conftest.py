"""What tests of several folders share."""

from __future__ import annotations

import logging
import os
import secrets
import shutil
import signal
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import fsspec
import pytest
from hypothesis import settings

from distq.engine.ray_pool import RayExecutor
from distq.replica.worker import WorkerSettings

# a busy machine is no fault of a test
settings.register_profile("distq", deadline=None, max_examples=40)
settings.register_profile("thorough", deadline=None, max_examples=200)

# a shell has its background jobs, and all that they start, ignore Ctrl-C
signal.signal(signal.SIGINT, signal.default_int_handler)

_HERE = Path(__file__).parent

pytest_plugins = ["job_fixtures"]


def pytest_addoption(parser: pytest.Parser) -> None:
    """``pytest --real`` or ``scripts/test --real``; ``scripts/fuzz COUNT`` and ``--graphs COUNT``."""
    parser.addoption(
        "--real",
        action="store_true",
        help="tests marked real take whole data sets, not a few images; property tests take more cases",
    )
    parser.addoption("--fuzz", type=int, metavar="COUNT", help="cases of each format in the fuzz tests")
    parser.addoption("--graphs", type=int, metavar="COUNT", help="networks that the random-graph tests draw")


def pytest_configure(config: pytest.Config) -> None:
    """Before any test is read, which is when Hypothesis looks."""
    settings.load_profile("thorough" if config.getoption("--real") else "distq")


@pytest.fixture(scope="session", autouse=True)
def lazy_disk() -> Iterator[None]:
    """No file is waited for until the disk has it: no test takes power away, and there are thousands."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("os.fsync", lambda _: None)
        yield


@pytest.fixture(scope="module")
def eight_bits() -> Iterator[None]:
    """Weights of 8 bits on every processor, for tests of what becomes of certain numbers."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("distq.targets.has_exact_integer_kernels", lambda: True)
        yield


@pytest.fixture(scope="session")
def ray_session() -> Iterator[None]:
    """One Ray of four logical CPUs and no GPU for all tests that want one: it takes seconds to start."""
    import ray  # noqa: PLC0415  # only tests that want it pay for it

    # a short path: Ray's sockets lie in it
    folder = tempfile.mkdtemp(prefix="distq-test-", dir="/tmp")  # mkdtemp makes it ours
    folders = [entry for entry in sys.path if entry and Path(entry).is_relative_to(_HERE)]
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RAY_AUTH_TOKEN", secrets.token_hex(32))  # else Ray writes one into the home folder
        patch.delenv("RAY_ADDRESS", raising=False)
        patch.setenv("PYTHONPATH", os.pathsep.join(folders))  # actors import the tests' units
        ray.init(
            address="local",
            num_cpus=4,
            num_gpus=0,
            include_dashboard=False,
            log_to_driver=False,
            logging_level=logging.ERROR,
            _temp_dir=folder,
        )
        yield
        ray.shutdown()
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
def ray_executor(ray_session: None) -> Iterator[RayExecutor]:
    """Two workers on the tests' Ray."""
    del ray_session
    with RayExecutor(2, WorkerSettings()) as executor:
        yield executor


@pytest.fixture
def memory(local: Path) -> Iterator[str]:
    """The files of a test module's own ``local`` at a URL, in this process's memory."""
    storage = fsspec.filesystem("memory")
    for path in local.rglob("*.*"):
        storage.pipe_file(f"/bucket/{path.relative_to(local)}", path.read_bytes())
    yield "memory://bucket"
    storage.rm("/bucket", recursive=True)
