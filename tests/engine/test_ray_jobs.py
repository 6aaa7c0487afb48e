"""Reaching a head over HTTP: every mistake in address and token is one line."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

from distq.engine.ray_jobs import RayJobs, find_token
from distq.errors import UsageError


class Head(BaseHTTPRequestHandler):
    """Answers what the path's first part says: /200:text/api/version."""

    def do_GET(self) -> None:  # http.server's name
        code, _, text = self.path.split("/")[1].partition(":")
        self.send_response(int(code))
        self.end_headers()
        self.wfile.write(text.replace("%20", " ").encode())

    def log_message(self, *arguments: object) -> None:
        """Say nothing."""


@pytest.fixture
def head() -> Iterator[str]:
    server = HTTPServer(("127.0.0.1", 0), Head)
    thread = threading.Thread(target=server.serve_forever, args=[0.01])
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> pytest.MonkeyPatch:
    for name in ("RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH", "RAY_ADDRESS", "RAY_API_SERVER_ADDRESS"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    return monkeypatch


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        ("401", r"asks for a token: set RAY_AUTH_TOKEN or RAY_AUTH_TOKEN_PATH"),
        ("403", r"refuses the token: set RAY_AUTH_TOKEN or RAY_AUTH_TOKEN_PATH"),
        ("404", r"is no Ray dashboard: it is the URL .* \(status 404\)"),
        ("200:hello", "is no Ray dashboard: it is the URL"),
        ("200:7", "is no Ray dashboard: it is the URL"),
        ("200:[]", "is no Ray dashboard: it is the URL"),
    ],
)
def test_a_head_that_does_not_take_us_says_why(head: str, answer: str, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        RayJobs(f"{head}/{answer}")


def test_nothing_there_is_said_within_seconds() -> None:
    with pytest.raises(UsageError, match=r"http://127\.0\.0\.1:1 does not answer: .*refused; start the head"):
        RayJobs("http://127.0.0.1:1")


@pytest.mark.parametrize("address", ["head:8265", "ray://head:10001", "auto", "http://", "ftp://head"])
def test_an_address_that_is_no_url_is_refused(address: str) -> None:
    with pytest.raises(UsageError, match="cannot take jobs: it is the URL of the head's dashboard"):
        RayJobs(address)


def test_without_an_address_the_environment_is_asked(environment: pytest.MonkeyPatch) -> None:
    with pytest.raises(UsageError, match="--address is missing"):
        RayJobs(None)
    environment.setenv("RAY_ADDRESS", "http://127.0.0.1:1")
    with pytest.raises(UsageError, match=r"http://127\.0\.0\.1:1 does not answer"):
        RayJobs(None)


def test_the_token_is_found_where_ray_looks_for_it(environment: pytest.MonkeyPatch, tmp_path: Path) -> None:
    assert find_token() is None
    (tmp_path / ".ray").mkdir()
    (tmp_path / ".ray" / "auth_token").write_text("from home\n")
    assert find_token() == "from home"
    (tmp_path / "token").write_text("from a file\n")
    environment.setenv("RAY_AUTH_TOKEN_PATH", str(tmp_path / "token"))
    assert find_token() == "from a file"
    environment.setenv("RAY_AUTH_TOKEN", "given")
    assert find_token() == "given"


def test_a_token_file_that_cannot_be_read_is_named(environment: pytest.MonkeyPatch, tmp_path: Path) -> None:
    environment.setenv("RAY_AUTH_TOKEN_PATH", str(tmp_path / "none"))
    with pytest.raises(UsageError, match=r"RAY_AUTH_TOKEN_PATH .*none cannot be read: No such file"):
        find_token()


class Waits:
    """A client whose job prints one piece; while the next is awaited somebody presses Ctrl-C."""

    def __init__(self) -> None:
        self.ended = False

    async def tail_job_logs(self, job_id: str) -> AsyncIterator[str]:
        try:
            yield f"{job_id} begins\n"
            asyncio.get_running_loop().call_soon(interrupt)
            await asyncio.sleep(60)
        finally:
            self.ended = True


def interrupt() -> None:
    raise KeyboardInterrupt


def test_ctrl_c_ends_following_and_is_no_broken_connection(monkeypatch: pytest.MonkeyPatch) -> None:
    jobs, client = RayJobs.__new__(RayJobs), Waits()
    monkeypatch.setattr(jobs, "_client", client, raising=False)
    pieces = jobs.follow("job")
    assert next(pieces) == "job begins\n"
    with pytest.raises(KeyboardInterrupt):
        next(pieces)
    assert client.ended
