"""Why a worker was lost, in words."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from distq.engine.ray_decoders import DecoderLost
from distq.errors import ExecutionError

_LESS = "take fewer --workers or a smaller --cache-memory"
RAY_ENDED_IT = f"Ray ended it because its node ran out of memory: {_LESS}"
LOW = "low on memory"  # in what Ray says then


class TooSlow(Exception):  # noqa: N818  # it says what happened, and never reaches a person
    """A worker has had a unit for longer than ``--unit-timeout``."""


def poison(label: str, lost: Sequence[str]) -> ExecutionError:
    """The error of a unit whose worker was lost at every attempt."""
    return ExecutionError(
        f"{label}: its worker was lost in each of {len(lost)} attempts: {'; '.join(lost)}; "
        "the other units are finished: look for a sample or a memory limit that ends the process"
    )


def reason_of(error: Exception, killed_for_memory: Callable[[], bool]) -> str:
    """Why a worker was lost, for a person; ``killed_for_memory`` looks whether its system did it."""
    text = str(error)
    if isinstance(error, TooSlow):
        return text
    if LOW in text:
        return RAY_ENDED_IT
    if "node has died" in text or "node was terminated" in text:
        return "its node is gone"
    if killed_for_memory():
        return f"the system killed it for memory: {_LESS}"
    return "a decode worker's process ended" if isinstance(error, DecoderLost) else "its process ended"


def first_line(error: Exception) -> str:
    """What an error of Ray says, without its explanations."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[0].rstrip(".:") if lines else type(error).__name__
