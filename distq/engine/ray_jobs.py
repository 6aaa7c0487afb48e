"""Jobs on a cluster through the HTTP port of its head: Ray's Jobs API, with distq's errors."""

from __future__ import annotations

import asyncio
import contextlib
import http.client
import importlib
import json
import logging
import os
import time
import urllib.error
import urllib.request
from collections.abc import AsyncGenerator, Iterator, Mapping
from pathlib import Path
from typing import Any, Literal
from urllib.parse import urlsplit

from pydantic import BaseModel, ConfigDict

from distq.errors import ExecutionError, UsageError

Status = Literal["PENDING", "RUNNING", "STOPPED", "SUCCEEDED", "FAILED"]

_ANSWER_SECONDS = 30.0  # of a dashboard on a busy machine
_AGAIN_SECONDS = 1.0
_CONNECTIONS = 30
_ADDRESSES = ("RAY_API_SERVER_ADDRESS", "RAY_ADDRESS")
_TOKEN_FILE = Path(".ray") / "auth_token"
_TOKEN_REMEDY = "set RAY_AUTH_TOKEN or RAY_AUTH_TOKEN_PATH to the cluster's token"  # noqa: S105  # a sentence
_TALKATIVE = (  # of every upload and stream
    "ray._private.runtime_env.packaging",
    "ray.dashboard.modules.dashboard_sdk",
    "ray.dashboard.modules.job.sdk",
)
_URL = "the URL of the head's dashboard, such as http://HEAD:8265"


class ClusterJob(BaseModel):
    """A job as the cluster knows it.

    Attributes:
        id: Ray's submission id.
        status: Ray's word for where it is.
        metadata: what was given when it was submitted.
        started: seconds since 1970, None before.
        ended: the same, None while it runs.
        exit_code: of the driver, where it ended by itself.
        message: what Ray says about it.
    """

    model_config = ConfigDict(frozen=True)

    id: str
    status: Status
    metadata: dict[str, str]
    started: float | None = None
    ended: float | None = None
    exit_code: int | None = None
    message: str = ""

    @property
    def over(self) -> bool:
        """Whether it will not run any more."""
        return self.status in {"STOPPED", "SUCCEEDED", "FAILED"}


class RayJobs:
    """The jobs of one cluster. Nothing but the head's HTTP port is used."""

    def __init__(self, address: str | None) -> None:
        """Reach the head and show it the token.

        The token is looked for where Ray looks: RAY_AUTH_TOKEN, the file RAY_AUTH_TOKEN_PATH,
        ``~/.ray/auth_token``.

        Args:
            address: ``http://HEAD:8265`` or ``https://...``; None: what RAY_API_SERVER_ADDRESS or
                RAY_ADDRESS says.

        Raises:
            UsageError: the address is no URL, nothing or something else answers there, or the token is
                missing or wrong.
        """
        self.address = _http_address(address)
        token = find_token()
        _require_dashboard(self.address, token)
        self.guarded = token is not None
        """Whether a token was shown; without one the cluster takes jobs from everybody."""
        headers = {"Authorization": f"Bearer {token}"} if token else None
        submission = importlib.import_module("ray.job_submission")
        for talkative in _TALKATIVE:
            logging.getLogger(talkative).setLevel(logging.ERROR)
        with _no_other_address(), self._errors():
            self._client: Any = submission.JobSubmissionClient(self.address, headers=headers)

    def submit(
        self,
        job_id: str,
        command: str,
        metadata: Mapping[str, str],
        *,
        folder: Path | None = None,
        environment: Mapping[str, str] | None = None,
    ) -> None:
        """Start a shell command on the head.

        Args:
            job_id: no job of this cluster may have had it.
            command: runs in a copy of ``folder``.
            metadata: kept with the job.
            folder: is uploaded, and lies beside the job's actors on every node.
            environment: variables of the command and its actors.

        Raises:
            UsageError: the cluster refuses it.
        """
        runtime: dict[str, Any] = {"env_vars": dict(environment or {})}
        if folder is not None:
            runtime["working_dir"] = str(folder)
        with self._errors():
            self._client.submit_job(
                entrypoint=command, submission_id=job_id, metadata=dict(metadata), runtime_env=runtime
            )

    def list(self) -> list[ClusterJob]:
        """All jobs that were submitted, the oldest first."""
        with self._errors():
            found = [_job(details) for details in self._client.list_jobs() if details.submission_id]
        return sorted(found, key=lambda job: job.started or 0.0)

    def get(self, job_id: str) -> ClusterJob:
        """One job.

        Raises:
            UsageError: the cluster knows none of that id.
        """
        with self._errors(job_id):
            return _job(self._client.get_job_info(job_id))

    def stop(self, job_id: str) -> bool:
        """Ask a job to end; whether it was running."""
        with self._errors(job_id):
            return bool(self._client.stop_job(job_id))

    def follow(self, job_id: str) -> Iterator[str]:
        """What a job prints, in pieces, from its beginning until it is over.

        A connection that breaks is made again, and what was seen already is left out.

        Raises:
            UsageError: the head does not answer any more, or knows no such job.
        """
        seen = 0
        for _ in range(_CONNECTIONS):
            skip = seen
            with contextlib.suppress(*self._broken()):
                for piece in self._tail(job_id):
                    new, skip = piece[skip:], max(0, skip - len(piece))
                    seen += len(new)
                    if new:
                        yield new
            if self.get(job_id).over:
                break
            time.sleep(_AGAIN_SECONDS)
        else:
            raise UsageError(f"{self.address} keeps breaking the connection: follow {job_id} again later")
        with self._errors(job_id):  # the last lines may come after the stream's end
            rest = self._client.get_job_logs(job_id)[seen:]
        if rest:
            yield rest

    def _tail(self, job_id: str) -> Iterator[str]:
        """Ray's own stream, which is asynchronous."""
        loop = asyncio.new_event_loop()
        stream = self._client.tail_job_logs(job_id)
        try:
            while True:
                try:
                    piece: str = loop.run_until_complete(anext(stream))
                except StopAsyncIteration:
                    return
                yield piece
        finally:
            _end(loop, stream)

    @staticmethod
    def _broken() -> tuple[type[BaseException], ...]:
        """What a broken stream raises: Ray says RuntimeError, aiohttp its own."""
        return RuntimeError, OSError, importlib.import_module("aiohttp").ClientError

    @contextlib.contextmanager
    def _errors(self, job_id: str | None = None) -> Iterator[None]:
        """Turn what Ray's client raises into one line of ours."""
        unreachable = importlib.import_module("requests").RequestException
        try:
            yield
        except (unreachable, ConnectionError) as error:
            raise UsageError(f"{self.address} does not answer any more: {_first_line(error)}") from error
        except RuntimeError as error:
            text = str(error)
            if job_id is not None and ("status code 404" in text or "does not exist" in text):
                raise UsageError(f"{self.address} knows no job {job_id}: see 'distq jobs'") from None
            raise ExecutionError(f"{self.address} refuses: {_last_line(text)}") from error


def _end(loop: asyncio.AbstractEventLoop, stream: AsyncGenerator[str]) -> None:
    """End a stream of which a piece may still be awaited, as Ctrl-C leaves it.

    Whatever that raises is no news, and in the place of a KeyboardInterrupt it would be taken for a broken
    connection.
    """
    with contextlib.suppress(Exception):
        waiting = asyncio.all_tasks(loop)
        for task in waiting:
            task.cancel()
        if waiting:
            loop.run_until_complete(asyncio.wait(waiting))
    with contextlib.suppress(Exception):
        loop.run_until_complete(stream.aclose())
    loop.close()


def find_token() -> str | None:
    """The cluster's token, where Ray itself looks for it; None where there is none.

    Raises:
        UsageError: RAY_AUTH_TOKEN_PATH names a file that cannot be read.
    """
    if token := os.environ.get("RAY_AUTH_TOKEN", "").strip():
        return token
    if named := os.environ.get("RAY_AUTH_TOKEN_PATH"):
        try:
            return Path(named).read_text(encoding="utf-8").strip()
        except (OSError, UnicodeDecodeError) as error:
            reason = getattr(error, "strerror", None) or "it is no text"
            raise UsageError(f"RAY_AUTH_TOKEN_PATH {named} cannot be read: {reason}") from None
    with contextlib.suppress(OSError, UnicodeDecodeError, RuntimeError):  # RuntimeError: no home folder
        return (Path.home() / _TOKEN_FILE).read_text(encoding="utf-8").strip() or None
    return None


def _http_address(address: str | None) -> str:
    """The URL without a slash at its end."""
    given = address or next((os.environ[name] for name in _ADDRESSES if os.environ.get(name)), None)
    if given is None:
        raise UsageError(f"--address is missing: it is {_URL}")
    parts = urlsplit(given)
    if parts.scheme not in {"http", "https"} or not parts.hostname:
        raise UsageError(f"--address {given} cannot take jobs: it is {_URL}")
    return given.rstrip("/")


def _require_dashboard(address: str, token: str | None) -> None:
    """Ask the head for its version: quick, and every mistake in address and token shows here."""
    request = urllib.request.Request(f"{address}/api/version")  # noqa: S310  # http or https, checked
    if token:
        request.add_header("Authorization", f"Bearer {token}")
    foreign = f"--address {address} is no Ray dashboard: it is {_URL}"
    try:
        with urllib.request.urlopen(request, timeout=_ANSWER_SECONDS) as answer:  # noqa: S310  # the same
            if "ray_version" not in json.loads(answer.read()):
                raise UsageError(foreign)
    except urllib.error.HTTPError as error:
        if error.code == 401:
            raise UsageError(f"{address} asks for a token: {_TOKEN_REMEDY}") from None
        if error.code == 403:
            raise UsageError(f"{address} refuses the token: {_TOKEN_REMEDY}") from None
        raise UsageError(f"{foreign} (status {error.code})") from None
    except (urllib.error.URLError, TimeoutError, ConnectionError) as error:
        reason = getattr(error, "reason", error)
        raise UsageError(
            f"--address {address} does not answer: {_first_line(reason)}; start the head, open a tunnel "
            "to its dashboard, or correct the address"
        ) from None
    except (ValueError, TypeError, http.client.HTTPException):  # TypeError: JSON of another kind
        raise UsageError(foreign) from None


@contextlib.contextmanager
def _no_other_address() -> Iterator[None]:
    """Ray's client would prefer these variables to the address it is given."""
    hidden = {name: os.environ.pop(name) for name in _ADDRESSES if name in os.environ}
    try:
        yield
    finally:
        os.environ.update(hidden)


def _job(details: Any) -> ClusterJob:  # noqa: ANN401  # Ray's JobDetails
    return ClusterJob(
        id=details.submission_id,
        status=str(getattr(details.status, "value", details.status)),
        metadata=details.metadata or {},
        started=details.start_time / 1000 if details.start_time else None,
        ended=details.end_time / 1000 if details.end_time else None,
        exit_code=details.driver_exit_code,
        message=details.message or "",
    )


def _first_line(error: object) -> str:
    lines = str(error).strip().splitlines()
    return lines[0].rstrip(".") if lines else type(error).__name__


def _last_line(text: str) -> str:
    """Ray sends the traceback of its server; the reason stands at its end."""
    lines = [line.strip() for line in text.strip().splitlines() if line.strip()]
    return lines[-1].rstrip(".") if lines else "without a reason"
